use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::entries::Entries;

/// Stale items that are tolerated before the heap is rebuilt.
const TOLERATED: usize = 64;

/// An entry's next expiry. Ordered by time, then by age.
type Item = (Instant, u64, u32);

/// When entries expire: a heap from which entries that left are removed late.
///
/// Invariants: the top is never stale, and there are never more stale items than live ones and [`TOLERATED`]. So an
/// operation costs O(log n), amortised, and nothing where requests have neither timeout nor deadline.
#[derive(Debug)]
pub(super) struct Expiry {
    heap: BinaryHeap<Reverse<Item>>,
    live: usize,
}

impl Expiry {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), live: 0 }
    }

    /// The earliest expiry.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((when, _, _))| *when)
    }

    /// The entry that expires first, if it does by `now`.
    pub(super) fn due(&self, now: Instant) -> Option<u32> {
        let Reverse((when, _, slot)) = self.heap.peek()?;
        (*when <= now).then_some(*slot)
    }

    /// Notes the expiry of the entry in `slot`, if it has one.
    pub(super) fn add<T>(&mut self, entries: &Entries<T>, slot: u32) {
        let entry = entries.at(slot);
        if let Some(when) = entry.expires {
            self.heap.push(Reverse((when, entry.serial, slot)));
            self.live += 1;
        }
    }

    /// An entry that expired at `expires` leaves, or expires at another time from now on. To be followed by
    /// [`Self::settle`].
    pub(super) fn forget(&mut self, expires: Option<Instant>) {
        self.live -= usize::from(expires.is_some());
    }

    /// Restores the invariants after entries left.
    pub(super) fn settle<T>(&mut self, entries: &Entries<T>) {
        let live = |item: &Item| {
            let entry = entries.get(item.2);
            entry.is_some_and(|entry| entry.serial == item.1 && entry.expires == Some(item.0))
        };
        if self.live == 0 {
            self.heap.clear();
        } else if self.heap.len() > 2 * self.live + TOLERATED {
            self.heap.retain(|Reverse(item)| live(item));
            self.heap.shrink_to(4 * self.live + TOLERATED);
        }
        while self.heap.peek().is_some_and(|Reverse(item)| !live(item)) {
            self.heap.pop();
        }
    }

    /// Items held, stale ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}
