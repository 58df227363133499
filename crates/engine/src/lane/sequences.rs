use std::time::{Duration, Instant};

use adulis_batcher::{
    CostModel, RunEnd, SequenceBatch, SequenceDecision, SequenceOffer, SequenceQueue, SequenceRefusedReason,
    SequenceTicket,
};
use adulis_telemetry::SequenceReport;
use parking_lot::Mutex;

use super::{Answers, Bound, Next, Replies, Work};
use crate::instance::Slot;
use crate::sequences::{SequenceJob, SequenceKey, SequencePlan};

/// The scheduling state of a model whose requests form sequences: its sequences, its free instances.
///
/// A request is bound to the instance that has its sequence, so that here each free instance is asked what it could run.
pub(crate) struct SequenceLane {
    plan: SequencePlan,
    state: Mutex<State>,
    answers: Answers,
}

struct State {
    queue: SequenceQueue<SequenceKey, SequenceJob>,
    free: Vec<Slot>,
    /// In the executor's ready set, or about to be put there.
    scheduled: bool,
    /// The earliest moment at which the executor will look by itself.
    timer: Option<Instant>,
    cost: CostModel,
    /// Batches that were dispatched.
    batches: u64,
    closed: bool,
}

/// Requests of sequences that run together, and which batch of the model it is.
pub(crate) struct BoundSequences {
    pub(crate) batch: SequenceBatch<SequenceJob>,
    pub(crate) number: u64,
}

/// How a batch of sequences ended.
pub(crate) struct Ended<'a> {
    pub(crate) end: RunEnd<'a>,
    /// Rows of the run, and how long it took; nothing is learned of runs that failed.
    pub(crate) took: Option<(usize, Duration)>,
}

/// Why a request of a sequence was not queued.
#[derive(Debug)]
pub(crate) enum SequenceNotQueued {
    /// The lane takes nothing any more.
    Closed,
    /// The queue did not take it.
    Refused(SequenceRefusedReason),
}

impl SequenceLane {
    pub(crate) fn new(plan: SequencePlan, slots: Vec<Slot>, cost: CostModel) -> Self {
        let answers = Answers::new(plan.preserve_ordering, slots.len());
        let state = State {
            queue: SequenceQueue::new(plan.policy.clone()),
            free: slots,
            scheduled: false,
            timer: None,
            cost,
            batches: 0,
            closed: false,
        };
        Self { plan, state: Mutex::new(state), answers }
    }

    pub(crate) fn plan(&self) -> &SequencePlan {
        &self.plan
    }

    /// Queues a request behind those of its sequence. The flag says whether the executor has to be told.
    pub(crate) fn push(
        &self,
        offer: SequenceOffer<SequenceKey, SequenceJob>,
        now: Instant,
    ) -> Result<(SequenceTicket, bool), SequenceNotQueued> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(SequenceNotQueued::Closed);
        }
        let pushed = state.queue.push(offer, now);
        let ticket = pushed.map_err(|refused| SequenceNotQueued::Refused(refused.reason))?;
        Ok((ticket, state.schedule()))
    }

    /// Looks at the sequences on behalf of the executor.
    pub(super) fn next(&self, now: Instant) -> Next {
        let mut state = self.state.lock();
        state.scheduled = false;
        state.expire(now);
        let mut wait: Option<Instant> = None;
        for place in (0..state.free.len()).rev() {
            let instance = state.free[place].index;
            match state.queue.poll(instance, now) {
                SequenceDecision::Idle => {}
                SequenceDecision::WaitUntil(at) => wait = Some(wait.map_or(at, |wait| wait.min(at))),
                SequenceDecision::Dispatch(batch) => {
                    let slot = state.free.swap_remove(place);
                    let number = state.batches;
                    state.batches += 1;
                    let work = Work::Sequences(Box::new(BoundSequences { batch, number }));
                    let more = state.schedule();
                    return Next::Run { bound: Bound { work, slot, at: now }, more };
                }
            }
        }
        let Some(at) = [wait, state.queue.next_expiry()].into_iter().flatten().min() else {
            return Next::Nothing;
        };
        state.timer = Some(state.timer.map_or(at, |timer| timer.min(at)));
        Next::Later(at)
    }

    /// Gives an instance back after a run. What can't run any more is handed back in `orphans`. The flag says whether the
    /// executor has to be told.
    pub(crate) fn give_back(&self, slot: Slot, ended: &Ended<'_>, orphans: &mut Vec<SequenceJob>) -> bool {
        let mut state = self.state.lock();
        state.queue.complete(slot.index, ended.end, Instant::now(), orphans);
        if let Some((rows, infer)) = ended.took {
            state.cost.observe(rows, infer);
        }
        state.free.push(slot);
        state.schedule() || state.wants_timer()
    }

    /// The caller of a request is gone: takes it out, if it waits. What can't run without it is handed back in `orphans`. The
    /// flag says whether the executor has to be told. A run is not stopped: its sequence goes on from where it ends.
    pub(crate) fn cancel(
        &self,
        ticket: SequenceTicket,
        now: Instant,
        orphans: &mut Vec<SequenceJob>,
    ) -> bool {
        let mut state = self.state.lock();
        // The job is dropped after the lock is given back.
        let _cancelled = state.queue.cancel(ticket, now, orphans);
        let schedule = state.schedule() || state.wants_timer();
        drop(state);
        schedule
    }

    /// Sends a batch's replies, in the order in which batches were bound where the model wants that.
    pub(crate) fn answer(&self, number: u64, replies: Replies) {
        self.answers.send(number, replies);
    }

    /// How long what waits would take from now, if that can be said.
    pub(crate) fn backlog(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.cost.estimate(state.queue.len())
    }

    /// Sequences that there are.
    pub(crate) fn report(&self) -> SequenceReport {
        let state = self.state.lock();
        SequenceReport { active: state.queue.active(), backlog: state.queue.backlog() }
    }

    /// Takes everything out, and lets nothing in any more; what is running goes on.
    pub(super) fn close(&self) -> Vec<SequenceJob> {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.drain()
    }
}

impl State {
    /// Marks the lane as scheduled if there is something to do for it and it is not marked yet.
    fn schedule(&mut self) -> bool {
        let due = !self.scheduled && self.free.iter().any(|instance| self.queue.has_ready(instance.index));
        self.scheduled |= due;
        due
    }

    /// Whether some sequence may be given up one day and nobody is going to look then. Marks the lane as scheduled.
    fn wants_timer(&mut self) -> bool {
        let wanted = !self.scheduled && self.timer.is_none() && self.queue.next_expiry().is_some();
        self.scheduled |= wanted;
        wanted
    }

    /// Gives up the sequences that have been idle for too long, and what is kept for them by instances that don't run.
    fn expire(&mut self, now: Instant) {
        self.queue.expire(now);
        if self.timer.is_none_or(|timer| timer > now) {
            return;
        }
        self.timer = None;
        let queue = &self.queue;
        for instance in &mut self.free {
            let index = instance.index;
            instance.states.retain(|slot| queue.is_taken(index, slot));
        }
    }
}
