use std::time::Duration;

use smallvec::SmallVec;

/// What runs a queue's batches: so many at a time, each of which is free in a while.
///
/// Invariant: there is at least one, and they are in the order in which they get free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Station(SmallVec<[Duration; 8]>);

impl Station {
    /// `parallel` batches at a time, of which those run now that end after `running`.
    pub(super) fn new(parallel: usize, running: impl Iterator<Item = Duration>) -> Self {
        let parallel = parallel.max(1);
        let mut free: SmallVec<[Duration; 8]> = running.collect();
        free.sort_unstable();
        // Where more run than may from now on, the first to end make no room.
        let surplus = free.len().saturating_sub(parallel);
        free.drain(..surplus);
        for _ in free.len()..parallel {
            free.insert(0, Duration::ZERO);
        }
        Self(free)
    }

    /// Whether a batch could begin now.
    pub(super) fn is_free(&self) -> bool {
        self.0[0].is_zero()
    }

    /// When a batch begins before which `before` others go, each of which takes `each`.
    ///
    /// As lists are scheduled: whichever place is free first takes the next batch.
    pub(super) fn start(&self, before: usize, each: Duration) -> Duration {
        let free = &self.0;
        let (first, last) = (free[0], free[free.len() - 1]);
        if each.is_zero() {
            return first;
        }
        // A place that is free later than another has done its batch takes no part in the first rounds.
        if last - first > each {
            return self.search(before, each);
        }
        // Otherwise they take turns.
        let rounds = u32::try_from(before / free.len()).unwrap_or(u32::MAX);
        free[before % free.len()].saturating_add(each.saturating_mul(rounds))
    }

    /// The first moment by which one more than `before` batches have begun.
    fn search(&self, before: usize, each: Duration) -> Duration {
        let (mut early, mut late) = (self.0[0].as_nanos(), 0);
        // The place that is free first needs no help for all of them.
        late += early + each.as_nanos() * before as u128;
        while early < late {
            let middle = early.midpoint(late);
            if self.begun(middle, each) > before as u128 {
                late = middle;
            } else {
                early = middle + 1;
            }
        }
        Duration::from_nanos(u64::try_from(early).unwrap_or(u64::MAX))
    }

    /// Batches that have begun by then, if there is always another one.
    fn begun(&self, nanoseconds: u128, each: Duration) -> u128 {
        let begun = |free: &Duration| {
            let worked = nanoseconds.checked_sub(free.as_nanos())?;
            Some(worked / each.as_nanos() + 1)
        };
        self.0.iter().filter_map(begun).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn places_without_a_run_are_free_now() {
        let station = Station::new(3, [ms(9), ms(4)].into_iter());
        assert!(station.is_free());
        let starts: Vec<Duration> = (0..5).map(|before| station.start(before, ms(10))).collect();
        assert_eq!(starts, [ms(0), ms(4), ms(9), ms(10), ms(14)]);
    }

    #[test]
    fn of_more_runs_than_places_the_last_to_end_count() {
        let station = Station::new(1, [ms(9), ms(4)].into_iter());
        assert!(!station.is_free());
        assert_eq!(station.start(0, ms(10)), ms(9));
        assert_eq!(Station::new(0, std::iter::empty()).start(2, ms(3)), ms(6));
    }

    proptest! {
        #[test]
        fn starts_are_those_of_a_list_that_is_worked_off(
            parallel in 1_usize..5,
            running in prop::collection::vec(0_u64..60, 0..6),
            each in 0_u64..20,
            before in 0_usize..40,
        ) {
            let station = Station::new(parallel, running.iter().copied().map(ms));
            let mut free = station.0.to_vec();
            for _ in 0..before {
                free.sort_unstable();
                free[0] += ms(each);
            }
            prop_assert_eq!(station.start(before, ms(each)), *free.iter().min().unwrap());
        }
    }
}
