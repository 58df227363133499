//! Runs on the threads where their requests arrived.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use adulis_backend::Interrupt;

use super::{BatchLane, Size, State};
use crate::instance::Slot;

/// How often a caller looks for an instance that is out on a short run, and how long it waits between looks: a few
/// microseconds in all, which is less than a hand-over takes.
const INLINE_LOOKS: usize = 16;
const INLINE_SPINS: usize = 20;

/// Requests that must be expected within the time of a hand-over for it to be worth while. A single client is never so fast,
/// whose every request takes two such wake-ups: its own and that of the thread that reads it.
const COMPANY: f64 = 1.5;

/// A run that is met by two looks so far apart hangs: it was known to be shorter than a thread hand-over.
pub(crate) const INLINE_PATIENCE: Duration = Duration::from_secs(1);

/// A run on its caller's thread.
pub(super) struct InlineRun {
    slot: usize,
    interrupt: Option<Arc<dyn Interrupt>>,
    /// When it was looked after first. The run itself takes no look at the clock.
    seen: Option<Instant>,
    hangs: bool,
}

/// What a caller that would run on its own thread finds.
enum Inline {
    Take(Slot),
    LookAgain,
    Queue,
}

impl BatchLane {
    /// Takes an instance for a run on the caller's own thread: only if nobody waits, and the run is known to be short.
    ///
    /// A run that is not short even for a busy model is done there only if nobody would join it in a batch: while requests
    /// come so fast that several are expected within the time of a hand-over, one run for all of them is cheaper.
    ///
    /// Where every instance is out on a run that is short even for a busy model, one will be back before a thread hand-over
    /// would be done: the caller looks a few times more before it queues.
    pub(crate) fn take_inline(&self, size: Size, arrived: Instant) -> Option<Slot> {
        if !self.runs_inline() {
            return None;
        }
        let mut arrived = Some(arrived);
        for _ in 0..INLINE_LOOKS {
            match self.look_inline(size, arrived.take()) {
                Inline::Take(slot) => return Some(slot),
                Inline::Queue => return None,
                Inline::LookAgain => (0..INLINE_SPINS).for_each(|_| std::hint::spin_loop()),
            }
        }
        None
    }

    /// One look; the first one notes when the request arrived.
    fn look_inline(&self, size: Size, arrived: Option<Instant>) -> Inline {
        let mut state = self.state.lock();
        if let Some(arrived) = arrived {
            state.pace.note(arrived);
        }
        let alone = state.free.len() == self.instances;
        let is_barred = state.closed || state.is_never_inline;
        if is_barred || !state.queue.is_empty() || (self.answers.are_ordered() && !alone) {
            return Inline::Queue;
        }
        let Some(estimate) = state.cost.estimate(size.bucket, size.rows) else {
            return Inline::Queue;
        };
        let company = || self.merges && state.pace.expects(COMPANY, self.inline.alone);
        // Who configures a delay wants requests to wait for company.
        if estimate < self.inline.busy
            || (alone && !self.delays && estimate < self.inline.alone && !company())
        {
            return state.take_inline().map_or(Inline::LookAgain, Inline::Take);
        }
        Inline::Queue
    }

    /// Whether requests may run on their callers' threads.
    pub(crate) fn runs_inline(&self) -> bool {
        !self.inline.alone.is_zero()
    }

    /// Looks after the runs on callers' threads: asks those that hang to stop, and lets no further one begin there. Says how many
    /// were found to hang just now.
    pub(crate) fn look_after_inline(&self, now: Instant) -> usize {
        let mut state = self.state.lock();
        let mut found = 0;
        for run in &mut state.inline {
            let seen = *run.seen.get_or_insert(now);
            if run.hangs || now.saturating_duration_since(seen) < INLINE_PATIENCE {
                continue;
            }
            run.hangs = true;
            found += 1;
            if let Some(interrupt) = &run.interrupt {
                // Under the lock, so that the instance cannot have begun its next run.
                interrupt.interrupt();
            }
        }
        state.is_never_inline |= found > 0;
        self.hanging.fetch_add(found, Ordering::Relaxed);
        found
    }

    /// How many runs on callers' threads hang.
    pub(crate) fn hanging(&self) -> usize {
        self.hanging.load(Ordering::Relaxed)
    }

    /// Whether they have all instances.
    pub(crate) fn all_hang(&self) -> bool {
        self.hanging() >= self.instances
    }

    pub(super) fn note_inline_ended(&self, state: &mut State, slot: usize) {
        if let Some(index) = state.inline.iter().position(|run| run.slot == slot)
            && state.inline.swap_remove(index).hangs
        {
            self.hanging.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl State {
    fn take_inline(&mut self) -> Option<Slot> {
        let slot = self.free.pop()?;
        let interrupt = slot.interrupt();
        self.inline.push(InlineRun { slot: slot.index, interrupt, seen: None, hangs: false });
        Some(slot)
    }
}
