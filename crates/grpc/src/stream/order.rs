use std::collections::{BTreeMap, VecDeque};

use crate::stream::answers::{Answered, Finished};

/// Last answers on their way out: those of ordinary models in the order in which their requests came, all others at once.
#[derive(Default)]
pub(super) struct Order {
    /// The place of the next ordinary request.
    unused: u64,
    /// The place whose answer is due.
    due: u64,
    /// Answers that wait for earlier ones.
    early: BTreeMap<u64, Answered>,
    ready: VecDeque<Answered>,
}

impl Order {
    /// The place of a request whose answer keeps its order.
    pub(super) fn place(&mut self) -> u64 {
        self.unused += 1;
        self.unused - 1
    }

    /// Answers that have not left yet.
    pub(super) fn held(&self) -> usize {
        self.early.len() + self.ready.len()
    }

    /// A request is done.
    pub(super) fn put(&mut self, finished: Finished) {
        match (finished.place, finished.last) {
            (Some(place), Some(answered)) => {
                self.early.insert(place, answered);
            }
            (None, Some(answered)) => self.ready.push_back(answered),
            (_, None) => {}
        }
    }

    /// The next answer that may leave.
    pub(super) fn next(&mut self) -> Option<Answered> {
        if let Some(answered) = self.ready.pop_front() {
            return Some(answered);
        }
        let answered = self.early.remove(&self.due)?;
        self.due += 1;
        Some(answered)
    }
}
