use std::collections::HashMap;

use super::entries::{Chain, Entries, Lanes, NONE, weight};
use crate::{ShapeBucket, ShapeClass};

/// Classes that stay known while nothing of theirs is waiting, so that a queue that keeps running empty does not hash
/// and allocate anew for each request.
const KEPT_CLASSES: usize = 32;

/// What is waiting of one class.
#[derive(Debug)]
pub(super) struct Class {
    key: ShapeClass,
    pub(super) lanes: Lanes,
    /// Rows waiting, an empty request counting as one.
    pub(super) rows: usize,
    /// Its place among the large ones, or `NONE`.
    large: u32,
}

impl Class {
    /// How large its rows are.
    pub(super) fn bucket(&self) -> ShapeBucket {
        self.key.bucket()
    }
}

/// The classes that have entries, and the few that had lately.
#[derive(Debug)]
pub(super) struct Classes {
    known: HashMap<ShapeClass, u32>,
    classes: Vec<Option<Class>>,
    free: Vec<u32>,
    /// The class that was asked for last: most queues have one only, and find it without hashing.
    recent: u32,
    /// Classes that may have enough rows for a batch that need not wait.
    large: Vec<u32>,
    /// Rows from which a class is large.
    threshold: usize,
}

impl Classes {
    /// No classes; one is large from `threshold` rows on.
    pub(super) fn new(threshold: usize) -> Self {
        Self {
            known: HashMap::new(),
            classes: Vec::new(),
            free: Vec::new(),
            recent: NONE,
            large: Vec::new(),
            threshold,
        }
    }

    pub(super) fn at(&self, id: u32) -> &Class {
        self.get(id).expect("invariant: entries name known classes")
    }

    /// Classes with at least the threshold's rows, in no order.
    pub(super) fn large(&self) -> &[u32] {
        &self.large
    }

    /// The number of `key`'s class, made known if it is not. To be followed by [`Self::append`].
    pub(super) fn intern(&mut self, key: ShapeClass) -> u32 {
        if self.get(self.recent).is_none_or(|class| class.key != key) {
            self.recent = match self.known.get(&key) {
                Some(id) => *id,
                None => self.insert(key),
            };
        }
        self.recent
    }

    /// Adds an entry to its class.
    pub(super) fn append<T>(&mut self, entries: &mut Entries<T>, slot: u32) {
        let (id, rows) = (entries.at(slot).class, weight(entries.at(slot).rows));
        let class = self.at_mut(id);
        class.lanes.append(entries, slot);
        class.rows += rows;
        let (rows, large) = (class.rows, class.large);
        if rows >= self.threshold && large == NONE {
            self.at_mut(id).large =
                u32::try_from(self.large.len()).expect("invariant: classes are numbered by u32");
            self.large.push(id);
        }
    }

    /// Takes an entry out of its class, and forgets the class if that was its last.
    pub(super) fn unlink<T>(&mut self, entries: &mut Entries<T>, slot: u32) {
        let (id, rows) = (entries.at(slot).class, weight(entries.at(slot).rows));
        let class = self.at_mut(id);
        class.lanes.unlink(entries, slot);
        class.rows -= rows;
        let (rows, large) = (class.rows, class.large);
        if rows < self.threshold && large != NONE {
            self.at_mut(id).large = NONE;
            self.large.swap_remove(large as usize);
            if let Some(moved) = self.large.get(large as usize).copied() {
                self.at_mut(moved).large = large;
            }
        }
        if rows == 0 && self.known.len() > KEPT_CLASSES {
            self.forget(id);
        }
    }

    /// Classes known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn get(&self, id: u32) -> Option<&Class> {
        self.classes.get(id as usize)?.as_ref()
    }

    fn at_mut(&mut self, id: u32) -> &mut Class {
        self.classes[id as usize].as_mut().expect("invariant: entries name known classes")
    }

    fn insert(&mut self, key: ShapeClass) -> u32 {
        let class = Some(Class { key: key.clone(), lanes: Lanes::new(Chain::Class), rows: 0, large: NONE });
        let id = match self.free.pop() {
            Some(id) => {
                self.classes[id as usize] = class;
                id
            }
            None => {
                let id = u32::try_from(self.classes.len()).expect("invariant: no more classes than entries");
                self.classes.push(class);
                id
            }
        };
        self.known.insert(key, id);
        id
    }

    fn forget(&mut self, id: u32) {
        if let Some(class) = self.classes[id as usize].take() {
            self.known.remove(&class.key);
            self.free.push(id);
        }
        if self.known.len() <= KEPT_CLASSES && self.known.capacity() > 64 * KEPT_CLASSES {
            self.known.shrink_to_fit();
        }
    }
}
