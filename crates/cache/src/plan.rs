use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adulis_types::Failure;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::Key;
use crate::entry::{Entry, Outcome};
use crate::rows::stitch;
use crate::value::Answer;

/// How far a request has come: which of its rows (or the whole of it, as one) are known, and which are still to come. A plain
/// table without clock, lock or channel.
///
/// Rows of one key are one slot: they are looked up, run and waited for once.
pub(crate) struct Plan {
    slots: SmallVec<[Slot; 1]>,
    /// The slot of each row; empty where each row has its own, in order.
    slot_of_row: Vec<usize>,
    rows: usize,
}

pub(crate) struct Slot {
    pub(crate) key: Key,
    /// The first row that has this key.
    pub(crate) row: usize,
    pub(crate) state: State,
}

pub(crate) enum State {
    Missing,
    /// Known from a tier or from another request's run.
    Known(Arc<Entry>),
    /// Run for this request.
    Run(Answer),
}

impl Plan {
    /// A plan for rows of these keys, of which nothing is known.
    pub(crate) fn new(keys: &[Key]) -> Self {
        if let [key] = keys {
            let slot = Slot { key: *key, row: 0, state: State::Missing };
            return Self { slots: SmallVec::from_iter([slot]), slot_of_row: Vec::new(), rows: 1 };
        }
        let mut slots = SmallVec::new();
        let mut slot_of_key = HashMap::with_capacity(keys.len());
        let slot_of_row = keys.iter().enumerate().map(|(row, key)| {
            *slot_of_key.entry(*key).or_insert_with(|| {
                slots.push(Slot { key: *key, row, state: State::Missing });
                slots.len() - 1
            })
        });
        let mut slot_of_row: Vec<usize> = slot_of_row.collect();
        if slots.len() == keys.len() {
            slot_of_row = Vec::new();
        }
        Self { slots, slot_of_row, rows: keys.len() }
    }

    /// A plan for some rows of a request of `total` rows.
    pub(crate) fn of_rows(keys: &[Key], rows: impl Iterator<Item = usize>, total: usize) -> Self {
        let slots = keys.iter().zip(rows).map(|(key, row)| Slot { key: *key, row, state: State::Missing });
        Self { slots: slots.collect(), slot_of_row: Vec::new(), rows: total }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn set(&mut self, slot: usize, state: State) {
        self.slots[slot].state = state;
    }

    /// Slots of which nothing is known.
    pub(crate) fn missing(&self) -> impl Iterator<Item = usize> {
        let missing = |slot: &Slot| matches!(slot.state, State::Missing);
        self.slots
            .iter()
            .enumerate()
            .filter(move |(_, slot)| missing(slot))
            .map(|(index, _)| index)
    }

    /// Rows that were run for this request; each of several equal ones counts.
    pub(crate) fn rows_run(&self) -> usize {
        let run = |slot: usize| matches!(self.slots[slot].state, State::Run(_));
        (0..self.rows).filter(|row| run(self.slot_of(*row))).count()
    }

    /// What is known to fail, of any of its rows.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.known().find_map(|entry| match &entry.outcome {
            Outcome::Failure(failure) => Some(failure),
            Outcome::Answer(_) => None,
        })
    }

    /// The age of the oldest that is known.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.known().map(|entry| entry.age(now)).max().unwrap_or_default()
    }

    fn known(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            State::Known(entry) => Some(entry),
            State::Missing | State::Run(_) => None,
        })
    }

    /// The answer, row by row in order; `None` where something is missing, failed, or does not fit together.
    pub(crate) fn answer(&self) -> Option<Answer> {
        let of_row = |row: usize| match &self.slots[self.slot_of(row)].state {
            State::Run(answer) => Some(answer),
            State::Known(entry) => entry.answer(),
            State::Missing => None,
        };
        if self.rows == 1 {
            return of_row(0).cloned();
        }
        let rows = (0..self.rows).map(of_row).collect::<Option<Vec<_>>>()?;
        stitch(&rows)
    }

    fn slot_of(&self, row: usize) -> usize {
        self.slot_of_row.get(row).copied().unwrap_or(row)
    }
}
