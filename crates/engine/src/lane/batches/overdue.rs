use std::thread::ThreadId;
use std::time::Instant;

use super::{BatchLane, Running, State};
use crate::instance::Slot;
use crate::job::Job;
use crate::padding::BatchSizes;
use crate::watch::ExecutionLimit;

/// A run that takes longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It was asked to stop.
    Interrupted,
    /// It did not stop, and was ended with the process that it was in.
    Killed,
    /// It can't be asked, or did not stop: it is to be written off.
    Stuck(StuckRun),
}

/// Which run is stuck, and not another one that has its place by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StuckRun {
    place: usize,
    /// Of its batch.
    number: u64,
    since: Instant,
}

/// What looking after a lane's runs showed.
pub(crate) struct LookedAfter {
    pub(crate) overdue: Vec<Overdue>,
    /// When to look again.
    pub(crate) next: Instant,
}

/// A run that nobody waits for any more, and which may end one day.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenOff {
    place: usize,
    /// Whether another thread does what its thread should.
    replaced: bool,
}

/// A place for an instance in the stead of one that was written off.
pub(crate) struct NewPlace {
    pub(crate) index: usize,
    pub(crate) sizes: BatchSizes,
}

impl BatchLane {
    /// Asks runs that take longer than they may to stop, and tells which of them don't.
    pub(crate) fn look_after(&self, limit: ExecutionLimit, now: Instant) -> LookedAfter {
        let mut state = self.state.lock();
        let mut found = LookedAfter { overdue: Vec::new(), next: now + limit.limit };
        for running in &mut state.running {
            let Some(since) = running.since else {
                continue;
            };
            let due = match running.asked_to_stop {
                None => since + limit.limit,
                Some(asked) => asked + limit.grace,
            };
            if due > now {
                found.next = found.next.min(due);
                continue;
            }
            match (&running.interrupt, running.asked_to_stop) {
                (Some(interrupt), None) => {
                    // Under the lock, so that the instance cannot have begun its next run.
                    interrupt.interrupt();
                    running.asked_to_stop = Some(now);
                    found.next = found.next.min(now + limit.grace);
                    found.overdue.push(Overdue::Interrupted);
                }
                (Some(interrupt), Some(_)) if !running.killed && interrupt.force() => {
                    running.killed = true;
                    running.asked_to_stop = Some(now);
                    found.next = found.next.min(now + limit.grace);
                    found.overdue.push(Overdue::Killed);
                }
                _ => {
                    let (place, number) = (running.slot, running.number);
                    found.overdue.push(Overdue::Stuck(StuckRun { place, number, since }));
                }
            }
        }
        found
    }

    /// The instance in a slot begins another run for its batch, with a time of its own. `false` if nobody waits for that batch.
    pub(crate) fn begin_again(&self, slot: &Slot, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.running_at(slot.index) {
            Some(running) => {
                // The instance may be a new one.
                running.interrupt = slot.interrupt();
                running.restart(now);
                !running.callers.is_empty()
            }
            None => state.written_off.iter().all(|written_off| written_off.place != slot.index),
        }
    }

    /// The run at a place only waits from now on: that is no time of its.
    pub(crate) fn pause(&self, place: usize) {
        if let Some(running) = self.state.lock().running_at(place) {
            running.since = None;
        }
    }

    /// The run at a place has waited, and begins.
    pub(crate) fn go_on(&self, place: usize, now: Instant) {
        if let Some(running) = self.state.lock().running_at(place) {
            running.restart(now);
        }
    }

    /// Gives a run up: its callers need not wait, and its instance is not expected back. `replace` is asked to have another
    /// thread in the place of the one that runs it. `None` if it has just ended, or waits; else whether there is one, and then
    /// the place for a new instance.
    pub(crate) fn write_off(
        &self,
        stuck: StuckRun,
        replace: impl FnOnce(ThreadId) -> bool,
    ) -> Option<Option<NewPlace>> {
        let mut state = self.state.lock();
        let StuckRun { place, number, since } = stuck;
        let is_it =
            |running: &Running| (running.slot, running.number, running.since) == (place, number, Some(since));
        let index = state.running.iter().position(is_it)?;
        let running = state.running.swap_remove(index);
        state.note_ended(place, false);
        state.abandoned.extend(running.callers);
        // Under the lock: if the run ends in this moment, its thread has to know whether it is needed.
        let replaced = running.thread.is_some_and(replace);
        state.written_off.push(WrittenOff { place, replaced });
        let next = state.next_place;
        state.next_place += usize::from(replaced);
        drop(state);
        self.answers.abandon(running.number);
        Some(replaced.then(|| NewPlace { index: next, sizes: self.sizes.clone() }))
    }

    /// Has an instance in the stead of one that was written off. The flag says whether the executor has to be told.
    pub(crate) fn supply(&self, slot: Slot) -> bool {
        let mut state = self.state.lock();
        state.free.push(slot);
        state.schedule()
    }

    /// Whether a caller's run was written off.
    pub(crate) fn is_abandoned(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        let index = state.abandoned.iter().position(|abandoned| *abandoned == id);
        index.map(|index| state.abandoned.swap_remove(index)).is_some()
    }

    /// Whether the run at a place that has just ended had been written off, and another thread has taken this one's place.
    pub(crate) fn was_replaced(&self, place: usize) -> bool {
        let mut state = self.state.lock();
        let index = state.returned.iter().position(|returned| returned.place == place);
        index.is_some_and(|index| state.returned.swap_remove(index).replaced)
    }

    /// Takes everything out that waits; what comes later is taken in.
    pub(crate) fn drain(&self) -> Vec<Job> {
        let mut state = self.state.lock();
        let drained = state.queue.drain();
        state.note_left(drained.iter(), Instant::now());
        drained
    }
}

impl Running {
    fn restart(&mut self, now: Instant) {
        (self.since, self.asked_to_stop, self.killed) = (Some(now), None, false);
    }
}

impl State {
    fn running_at(&mut self, place: usize) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.slot == place)
    }

    /// If the run that gives its instance back had been written off and replaced, that is surplus.
    pub(super) fn take_back(&mut self, place: usize) -> bool {
        let Some(index) = self.written_off.iter().position(|written_off| written_off.place == place) else {
            return false;
        };
        let written_off = self.written_off.swap_remove(index);
        self.returned.push(written_off);
        written_off.replaced
    }
}
