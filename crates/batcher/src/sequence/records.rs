use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Instant;

use crate::ShapeClass;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) serial: u64,
    pub(super) start: bool,
    pub(super) end: bool,
    pub(super) class: ShapeClass,
    pub(super) enqueued: Instant,
    pub(super) payload: T,
}

/// What an id stands for at present: one sequence, or one that ends and those that come after it.
#[derive(Debug)]
pub(super) struct Record<K, T> {
    pub(super) id: K,
    pub(super) owner: u64,
    /// What waits, in order. What follows an `end` here is a `start`, and so is the first in the backlog.
    pub(super) entries: VecDeque<Entry<T>>,
    pub(super) place: Place,
    pub(super) activity: Activity,
    /// Whether the next request that comes need not be a start.
    pub(super) open: bool,
}

/// Where a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It waits for a slot, in the order of its first request.
    Backlog { serial: u64 },
    /// It has a slot.
    Slot { instance: usize, slot: usize },
}

/// What a sequence with a slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// It has nothing to run; since when.
    Idle(Instant),
    /// Its first request can run.
    Ready,
    /// One of its requests runs.
    Running { start: bool, end: bool },
}

impl<K, T> Record<K, T> {
    /// Takes out what waits from index `from` on and belongs to a sequence whose start is gone: up to the next start. Without
    /// one, the sequence is not open any more.
    pub(super) fn give_up(&mut self, from: usize, orphans: &mut Vec<T>) {
        let rest = self.entries.range(from..);
        let count = rest.clone().take_while(|entry| !entry.start).count();
        if count == rest.len() {
            self.open = false;
        }
        orphans.extend(self.entries.drain(from..from + count).map(|entry| entry.payload));
    }
}

/// The sequences that there are, by their ids.
#[derive(Debug)]
pub(super) struct Records<K, T> {
    slab: Vec<Option<Record<K, T>>>,
    unused: Vec<u32>,
    by_id: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash, T> Records<K, T> {
    pub(super) fn new() -> Self {
        Self { slab: Vec::new(), unused: Vec::new(), by_id: HashMap::new() }
    }

    pub(super) fn find(&self, id: &K) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, index: u32) -> Option<&Record<K, T>> {
        self.slab.get(index as usize)?.as_ref()
    }

    pub(super) fn at(&self, index: u32) -> &Record<K, T> {
        self.get(index).expect("invariant: an index in a list is of a record")
    }

    pub(super) fn at_mut(&mut self, index: u32) -> &mut Record<K, T> {
        self.slab[index as usize].as_mut().expect("invariant: an index in a list is of a record")
    }

    /// The index that the next record will have, or `None` if there can be no more.
    pub(super) fn next_index(&self) -> Option<u32> {
        self.unused.last().copied().or_else(|| u32::try_from(self.slab.len()).ok())
    }

    pub(super) fn insert(&mut self, record: Record<K, T>) -> u32 {
        let index = self.next_index().expect("invariant: the caller has asked for it");
        if self.unused.pop().is_none() {
            self.slab.push(None);
        }
        self.by_id.insert(record.id.clone(), index);
        self.slab[index as usize] = Some(record);
        index
    }

    pub(super) fn remove(&mut self, index: u32) {
        if let Some(record) = self.slab[index as usize].take() {
            self.by_id.remove(&record.id);
            self.unused.push(index);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = u32> + use<'_, K, T> {
        self.by_id.values().copied()
    }
}
