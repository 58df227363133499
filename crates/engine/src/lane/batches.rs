mod inline;
mod overdue;
mod punctual;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use adulis_backend::Interrupt;
use adulis_batcher::{
    AdmissionPolicy, Batch, BatchPolicy, BatchQueue, CostLines, CostModel, Decision, Offer, Pace,
    RefusedReason, ShapeBucket, Ticket, TooLate,
};
use parking_lot::Mutex;

pub(crate) use self::inline::INLINE_PATIENCE;
use self::inline::InlineRun;
use self::overdue::WrittenOff;
pub(crate) use self::overdue::{NewPlace, Overdue};
use self::punctual::Punctual;
use super::{Answers, Bound, Next, Replies, Shed, Work};
use crate::inline::InlineLimits;
use crate::instance::Slot;
use crate::job::Job;
use crate::padding::BatchSizes;

/// The scheduling state of a model whose requests are independent of each other.
pub(crate) struct BatchLane {
    ids: AtomicU64,
    state: Mutex<State>,
    /// With a queue delay, a waiting lane is looked at again only when this many rows are there.
    wake_rows: usize,
    instances: usize,
    /// Batches that run at a time at most.
    parallel: usize,
    inline: InlineLimits,
    /// Runs on callers' threads that hang.
    hanging: AtomicUsize,
    /// Whether requests share batches.
    merges: bool,
    /// Whether requests are held back for a fuller batch.
    delays: bool,
    /// What batches are padded to.
    sizes: BatchSizes,
    answers: Answers,
}

/// How a lane schedules.
pub(crate) struct Rules {
    pub(crate) policy: BatchPolicy,
    /// Answers leave in the order in which their batches were formed.
    pub(crate) preserve_ordering: bool,
    pub(crate) inline: InlineLimits,
    /// How requests are admitted by what they will cost, if they are.
    pub(crate) admission: Option<AdmissionPolicy>,
    /// Whether runs that take too long are stopped or written off.
    pub(crate) is_watched: bool,
    /// Batches that run at a time at most.
    pub(crate) parallel: usize,
}

struct State {
    queue: BatchQueue<Job>,
    free: Vec<Slot>,
    /// In the executor's ready set, or about to be put there.
    scheduled: bool,
    /// A thread has set a timer for the queue delay.
    waiting: bool,
    running: Vec<Running>,
    /// Runs on callers' threads.
    inline: Vec<InlineRun>,
    /// Whether one of them has hung: then there are no more.
    is_never_inline: bool,
    cost: CostLines,
    pace: Pace,
    /// Whether requests would be answered in time, where that is asked.
    punctual: Option<Punctual>,
    runs: u64,
    is_watched: bool,
    /// The number of the next place for an instance.
    next_place: usize,
    /// Runs that were written off and have not ended.
    written_off: Vec<WrittenOff>,
    /// Those that have ended, until their threads know.
    returned: Vec<WrittenOff>,
    /// Callers of runs that were written off, until they know.
    abandoned: Vec<u64>,
    closed: bool,
}

/// Longest interval between requests that counts, in hand-overs.
const LONGEST_INTERVAL: u32 = 8;

/// A batch that can be interrupted or is watched, and whose callers still wait.
struct Running {
    slot: usize,
    /// Of the batch.
    number: u64,
    callers: Vec<u64>,
    interrupt: Option<Arc<dyn Interrupt>>,
    /// When the run began that its instance is in; `None` while that only waits, for a worker process, say.
    since: Option<Instant>,
    /// The thread that runs it, where it is watched.
    thread: Option<ThreadId>,
    /// When it was asked to stop because it takes too long.
    asked_to_stop: Option<Instant>,
    /// Whether the process was killed that it was in.
    killed: bool,
}

/// A queued job's place, for cancelling it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    ticket: Ticket,
    id: u64,
}

impl Place {
    /// The job's id.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// Of a run: its rows, and how large they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) bucket: ShapeBucket,
}

/// Why a job was not queued.
#[derive(Debug)]
pub(crate) enum NotQueued {
    /// The lane takes nothing any more.
    Closed,
    /// The queue did not take it.
    Refused(RefusedReason),
    /// It would be answered too late.
    TooLate(TooLate),
}

/// A job that was queued.
pub(crate) struct Queued {
    pub(crate) place: Place,
    /// Whether the executor has to be told.
    pub(crate) schedule: bool,
    /// Jobs of lower priority that had to make room for it.
    pub(crate) displaced: Vec<Job>,
}

impl BatchLane {
    pub(crate) fn new(rules: Rules, slots: Vec<Slot>, cost: CostModel) -> Self {
        let Rules { policy, preserve_ordering, inline, admission, is_watched, parallel } = rules;
        let merges = policy.max_batch_size > 1;
        let delays = !policy.max_queue_delay.is_zero();
        let wake_rows = policy.preferred_batch_sizes.iter().copied().min().unwrap_or(policy.max_batch_size);
        let sizes = slots.first().map(Slot::sizes).unwrap_or_default();
        let cost = CostLines::from(cost);
        let punctual = admission.map(|admission| Punctual::new(admission, &policy, cost.clone()));
        let state = State {
            queue: BatchQueue::new(policy),
            punctual,
            running: Vec::new(),
            inline: Vec::new(),
            is_never_inline: false,
            scheduled: false,
            waiting: false,
            cost,
            pace: Pace::new(inline.alone * LONGEST_INTERVAL),
            runs: 0,
            is_watched,
            next_place: slots.len(),
            written_off: Vec::new(),
            returned: Vec::new(),
            abandoned: Vec::new(),
            closed: false,
            free: slots,
        };
        let instances = state.free.len();
        let answers = Answers::new(preserve_ordering, instances);
        Self {
            ids: AtomicU64::new(0),
            state: Mutex::new(state),
            wake_rows,
            instances,
            parallel,
            inline,
            hanging: AtomicUsize::new(0),
            merges,
            delays,
            sizes,
            answers,
        }
    }

    /// The id of the next job.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a job, where it is worth that.
    pub(crate) fn push(&self, offer: Offer<Job>, now: Instant) -> Result<Queued, NotQueued> {
        let (id, deadline) = (offer.payload.id, offer.deadline);
        let mut state = self.state.lock();
        if state.closed {
            return Err(NotQueued::Closed);
        }
        state.admit(&offer, now).map_err(NotQueued::TooLate)?;
        let mut displaced = Vec::new();
        let pushed = state.queue.push_displacing(offer, now, &mut displaced);
        state.note_left(displaced.iter(), now);
        let ticket = pushed.map_err(|refused| {
            state.note_left(std::iter::once(&refused.payload), now);
            NotQueued::Refused(refused.reason)
        })?;
        let early = state.waiting
            && state.queue.rows() < self.wake_rows
            && (deadline.is_none() || state.punctual.is_none());
        let schedule = !early && state.schedule();
        Ok(Queued { place: Place { ticket, id }, schedule, displaced })
    }

    /// Looks at the queue on behalf of the executor. What is not going to run goes to `shed`.
    pub(super) fn next(&self, now: Instant, shed: &mut Shed) -> Next {
        let mut state = self.state.lock();
        state.scheduled = false;
        state.waiting = false;
        state.queue.expire(now, &mut shed.expired);
        state.note_left(shed.expired.iter(), now);
        if state.free.is_empty() {
            return Next::Nothing;
        }
        match state.poll(now, &mut shed.late) {
            Decision::Idle => Next::Nothing,
            Decision::WaitUntil(at) => {
                state.waiting = true;
                Next::Later(at)
            }
            Decision::Dispatch(batch) => {
                let Some(slot) = state.free.pop() else {
                    return Next::Nothing;
                };
                state.note_running(&slot, &batch, now);
                let more = state.schedule();
                Next::Run { bound: Bound { work: Work::Batch(batch), slot, at: now }, more }
            }
        }
    }

    /// Gives an instance back after a run. The flag says whether the executor has to be told.
    pub(crate) fn give_back(&self, slot: Slot, size: Size, infer: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        state.running.retain(|running| running.slot != slot.index);
        self.note_inline_ended(&mut state, slot.index);
        if state.take_back(slot.index) {
            drop(state);
            // Whatever dropping an instance takes that hung: not under the lock.
            drop(slot);
            return false;
        }
        state.note_ended(slot.index, infer.is_some());
        if let Some(infer) = infer.filter(|_| state.samples()) {
            state.cost.observe(size.bucket, size.rows, infer);
        }
        state.free.push(slot);
        state.schedule()
    }

    /// Sends a batch's replies, in the order in which batches were bound where the model wants that.
    pub(crate) fn answer(&self, sequence: u64, replies: Replies) {
        self.answers.send(sequence, replies);
    }

    /// The caller of a job is gone: takes it out of the queue (true), or stops its batch if nobody else waits for it.
    pub(crate) fn cancel(&self, place: Place) -> bool {
        let mut state = self.state.lock();
        if let Some(job) = state.queue.cancel(place.ticket) {
            state.note_cancelled(&job);
            // Its tensors may be large: they are not given back under the lock.
            drop(state);
            return true;
        }
        for running in &mut state.running {
            if let Some(index) = running.callers.iter().position(|caller| *caller == place.id) {
                running.callers.swap_remove(index);
                if let Some(interrupt) = running.interrupt.as_ref().filter(|_| running.callers.is_empty()) {
                    // Under the lock, so that the instance cannot have begun its next run.
                    interrupt.interrupt();
                }
                break;
            }
        }
        state.abandoned.retain(|id| *id != place.id);
        false
    }

    /// How long what waits would take from now, if that can be said.
    pub(crate) fn backlog(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.cost.backlog(state.queue.backlog(), self.parallel)
    }

    /// Takes everything out, and lets nothing in any more; what is running goes on.
    pub(super) fn close(&self) -> Vec<Job> {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.drain()
    }
}

/// Runs that are all observed; after them one in [`SAMPLE_EVERY`] is, which costs short runs less.
const OBSERVE_ALL: u64 = 256;
const SAMPLE_EVERY: u64 = 8;

impl State {
    /// Whether the run that has just ended is to be observed by the cost model.
    fn samples(&mut self) -> bool {
        self.runs += 1;
        self.runs <= OBSERVE_ALL || self.runs.is_multiple_of(SAMPLE_EVERY)
    }

    /// Marks the lane as scheduled if there is something to do for it and it is not marked yet.
    fn schedule(&mut self) -> bool {
        let due = !self.scheduled && !self.queue.is_empty() && !self.free.is_empty();
        self.scheduled |= due;
        due
    }

    fn note_running(&mut self, slot: &Slot, batch: &Batch<Job>, now: Instant) {
        self.note_began(slot.index, batch, now);
        let interrupt = slot.interrupt();
        if interrupt.is_some() || self.is_watched {
            self.running.push(Running {
                slot: slot.index,
                number: batch.sequence,
                callers: batch.members.iter().map(|member| member.payload.id).collect(),
                interrupt,
                since: Some(now),
                thread: self.is_watched.then(|| thread::current().id()),
                asked_to_stop: None,
                killed: false,
            });
        }
    }
}

#[cfg(test)]
mod tests;
