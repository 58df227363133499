use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::keeper::Life;
use crate::options::WorkerOptions;
use crate::process::Process;
use crate::restarts::Restarts;

/// A worker that has answered may die so often within this time, and be started again at once.
const FORGIVEN: usize = 3;
const FORGIVEN_WITHIN: Duration = Duration::from_secs(10);

/// What there is of each worker.
#[derive(Debug)]
pub(super) struct State {
    pub(super) slots: Vec<Slot>,
    /// Whether every place had its worker once. Before that nothing is started twice.
    pub(super) loaded: bool,
    pub(super) closed: bool,
}

/// The place of one worker.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) worker: Worker,
    pub(super) restarts: Restarts,
    /// When workers died that had answered, and were started again at once.
    forgiven: Vec<Instant>,
    /// Connections that are open and belong to nobody yet.
    pub(super) spares: Vec<Connection>,
    /// How the last one ended, or why it could not be started.
    pub(super) reason: Option<Arc<str>>,
}

#[derive(Debug)]
pub(super) enum Worker {
    /// Not started yet, or not again.
    Down,
    Starting(Arc<Process>),
    Up(Arc<Process>),
}

/// What there is for who needs a connection.
pub(super) enum Found {
    Spare(usize, Connection),
    Up(usize, Arc<Process>),
    Nothing,
    Closed,
    Broken(Arc<str>),
}

impl Slot {
    /// Its worker is gone, or could not be started. A death after an answer is no failure, unless there are too many of them: the
    /// model may crash after every few answers.
    pub(super) fn ended(&mut self, life: Life, now: Instant) {
        self.forgiven.retain(|died| now.saturating_duration_since(*died) < FORGIVEN_WITHIN);
        match life {
            Life::Stopped => self.restarts.succeeded(),
            Life::Useful if self.forgiven.len() < FORGIVEN => {
                self.forgiven.push(now);
                self.restarts.succeeded();
            }
            Life::Useful | Life::Useless => self.restarts.failed(),
        }
    }
}

impl State {
    /// Nothing is started yet.
    pub(super) fn new(options: &WorkerOptions) -> Self {
        let slot = |_| Slot {
            worker: Worker::Down,
            restarts: Restarts::new(options.min_delay, options.max_delay),
            forgiven: Vec::new(),
            spares: Vec::new(),
            reason: None,
        };
        Self { slots: (0..options.count).map(slot).collect(), loaded: false, closed: false }
    }

    pub(super) fn has_up(&self) -> bool {
        let is_up = |slot: &Slot| matches!(&slot.worker, Worker::Up(process) if !process.is_gone());
        self.slots.iter().any(is_up)
    }

    /// At home if possible; elsewhere sooner where a connection is open already.
    pub(super) fn find(&mut self, home: usize, options: &WorkerOptions) -> Found {
        if self.closed {
            return Found::Closed;
        }
        let count = self.slots.len();
        let up: Vec<(usize, Arc<Process>)> = (0..count)
            .map(|step| (home + step) % count)
            .filter_map(|index| match &self.slots[index].worker {
                Worker::Up(process) if !process.is_gone() => Some((index, Arc::clone(process))),
                _ => None,
            })
            .collect();
        let spare = up.iter().find_map(|(index, _)| Some((*index, self.slots[*index].spares.pop()?)));
        match (spare, up.into_iter().next()) {
            (Some((index, connection)), _) => Found::Spare(index, connection),
            (None, Some((index, process))) => Found::Up(index, process),
            (None, None) => self.why_broken(options).map_or(Found::Nothing, Found::Broken),
        }
    }

    /// Why no worker is to be expected soon: none is up, and one has died too often.
    pub(super) fn why_broken(&self, options: &WorkerOptions) -> Option<Arc<str>> {
        if self.has_up() {
            return None;
        }
        let worst = self.slots.iter().rfind(|slot| slot.restarts.failures() >= options.max_crashes)?;
        let failures = worst.restarts.failures();
        let last = worst.reason.as_deref().unwrap_or("it ended");
        Some(
            format!(
                "its worker process died {failures} times in a row without an answer or soon after it (the last time: {last}); it is started again"
            )
            .into(),
        )
    }

    pub(super) fn reasons(&self) -> String {
        let reasons: BTreeSet<&str> = self.slots.iter().filter_map(|slot| slot.reason.as_deref()).collect();
        let reasons: Vec<&str> = reasons.into_iter().collect();
        if reasons.is_empty() {
            "it is still starting".to_owned()
        } else {
            reasons.join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        State::new(&WorkerOptions::default()).slots.remove(0)
    }

    #[test]
    fn a_worker_that_answered_is_started_again_at_once_three_times_in_ten_seconds() {
        let (mut slot, now) = (slot(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut failures = |second| {
            slot.ended(Life::Useful, after(second));
            assert_eq!(slot.restarts.delay().is_zero(), slot.restarts.failures() == 0);
            slot.restarts.failures()
        };
        assert_eq!([0, 1, 2, 3, 9].map(&mut failures), [0, 0, 0, 1, 2]);
        // The first was ten seconds ago.
        assert_eq!([10, 10].map(&mut failures), [0, 1]);
        assert_eq!([100, 111, 122, 133, 144].map(&mut failures), [0; 5]);
    }

    #[test]
    fn one_that_did_not_answer_is_not_started_at_once() {
        let (mut slot, now) = (slot(), Instant::now());
        for failures in [1, 2] {
            slot.ended(Life::Useless, now);
            assert_eq!(slot.restarts.failures(), failures);
            assert!(!slot.restarts.delay().is_zero());
        }
        slot.ended(Life::Useful, now);
        assert_eq!(slot.restarts.failures(), 0);
    }
}
