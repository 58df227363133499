use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

/// Items that were overtaken and are tolerated before the heap is rebuilt.
const TOLERATED: usize = 64;

/// When models are to be looked at: one moment at most for each key.
///
/// Invariant: there are never more items that were overtaken than such as count and [`TOLERATED`].
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Those that count.
    set: HashMap<usize, Instant>,
}

impl Timers {
    /// Has a key told at this moment, unless it is to be told sooner.
    pub(super) fn set(&mut self, at: Instant, key: usize) {
        if self.set.get(&key).is_some_and(|sooner| *sooner <= at) {
            return;
        }
        self.set.insert(key, at);
        self.heap.push(Reverse((at, key)));
        if self.heap.len() > 2 * self.set.len() + TOLERATED {
            self.heap.retain(|Reverse((at, key))| self.set.get(key) == Some(at));
        }
    }

    /// A key whose moment has come. It is told once.
    pub(super) fn due(&mut self, now: Instant) -> Option<usize> {
        while self.next().is_some_and(|at| at <= now) {
            let Reverse((at, key)) = self.heap.pop()?;
            if self.set.get(&key) == Some(&at) {
                self.set.remove(&key);
                return Some(key);
            }
        }
        None
    }

    /// The earliest moment at which there may be something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, key: usize) {
        self.set.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_key_is_told_once_at_its_earliest_moment() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        timers.set(now + 3 * MS, 0);
        timers.set(now + MS, 0);
        timers.set(now + 2 * MS, 0);
        timers.set(now + 2 * MS, 1);
        assert_eq!((timers.next(), timers.due(now)), (Some(now + MS), None));
        assert_eq!([timers.due(now + MS), timers.due(now + MS)], [Some(0), None]);
        timers.set(now + 9 * MS, 0);
        timers.remove(1);
        assert_eq!(timers.due(now + 5 * MS), None, "neither what was overtaken nor who is gone");
        assert_eq!(timers.due(now + 9 * MS), Some(0));
        assert_eq!((timers.due(now + 9 * MS), timers.next()), (None, None));
    }

    #[test]
    fn what_was_overtaken_does_not_pile_up() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        for step in 0..100_000 {
            // As for sequences that may be idle for long, and whose batches wait for company for a moment.
            let now = now + step * MS;
            timers.set(now + 600_000 * MS, 0);
            timers.set(now, 0);
            assert_eq!(timers.due(now), Some(0));
        }
        assert!(timers.heap.len() <= 2 + TOLERATED, "{}", timers.heap.len());
    }
}
