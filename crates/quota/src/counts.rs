use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::gcra::Verdict;
use crate::{Gcra, Limit, Limits};

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What a request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Its rows, one at least.
    pub rows: u64,
}

/// A moment, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds of a clock that is never set.
    pub steady: u64,
    /// Seconds since 1970, UTC.
    pub utc_seconds: u64,
}

impl Moment {
    /// So long after a beginning, at this time of day.
    #[must_use]
    pub fn new(since: Duration, utc: SystemTime) -> Self {
        let utc_seconds = utc.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Nothing is whole at the time zero but what was never asked for.
        Self { steady: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), utc_seconds }
    }

    fn day(self) -> u64 {
        self.utc_seconds / DAY_SECONDS
    }

    fn left_of_day(self) -> Duration {
        Duration::from_secs(DAY_SECONDS - self.utc_seconds % DAY_SECONDS)
    }
}

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What is left.
    pub remaining: u64,
    /// When all of it is there again.
    pub reset: Duration,
}

/// Why a request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The limit; of several the one that lasts longest.
    pub limit: Limit,
    /// When it would be; `None`: never, since it is more than passes at once.
    pub retry: Option<Duration>,
}

/// What was decided of a request, and how the limits stand then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it is let through.
    pub refusal: Option<Refusal>,
    /// Of [`Limits::requests`].
    pub requests: Option<Reading>,
    /// Of [`Limits::rows`].
    pub rows: Option<Reading>,
    /// Of [`Limits::rows_per_day`].
    pub rows_per_day: Option<Reading>,
}

/// What an identity has asked for, as far as limits go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    requests: Gcra,
    rows: Gcra,
    /// The day, since 1970, that the next is of.
    day: u64,
    rows_of_day: u64,
}

impl Counts {
    /// Decides of a request, and counts it if it is let through: against all limits, or against none.
    pub fn judge(&mut self, limits: &Limits, cost: Cost, now: Moment) -> Judgement {
        // Also where nothing is taken: a day that a clock ran ahead to must not last until it comes.
        (self.rows_of_day, self.day) = (self.rows_of(now), now.day());
        let mut next = *self;
        let mut refusal = None;
        if let Some(rate) = &limits.requests {
            let verdict = self.requests.judge(rate, 1, now.steady);
            next.requests = settle(self.requests, verdict, Limit::Requests, &mut refusal);
        }
        if let Some(rate) = &limits.rows {
            let verdict = self.rows.judge(rate, cost.rows, now.steady);
            next.rows = settle(self.rows, verdict, Limit::Rows, &mut refusal);
        }
        if let Some(most) = limits.rows_per_day {
            next.rows_of_day = next.rows_of_day.saturating_add(cost.rows);
            if next.rows_of_day > most.get() {
                let retry = (cost.rows <= most.get()).then(|| now.left_of_day());
                worst(&mut refusal, Refusal { limit: Limit::RowsPerDay, retry });
            }
        }
        if refusal.is_none() {
            *self = next;
        }
        self.read(limits, now, refusal)
    }

    /// Takes over what replicas have counted together, so that it is known here when they cannot be asked any more.
    pub fn learn(&mut self, judgement: &Judgement, limits: &Limits, now: Moment) {
        if let Some(reading) = judgement.requests {
            self.requests.learn(reading.reset, now.steady);
        }
        if let Some(reading) = judgement.rows {
            self.rows.learn(reading.reset, now.steady);
        }
        if let (Some(reading), Some(most)) = (judgement.rows_per_day, limits.rows_per_day) {
            self.day = now.day();
            self.rows_of_day = most.get().saturating_sub(reading.remaining);
        }
    }

    /// How the limits stand.
    pub(crate) fn read(&self, limits: &Limits, now: Moment, refusal: Option<Refusal>) -> Judgement {
        let rows_per_day = limits.rows_per_day.map(|most| Reading {
            remaining: most.get().saturating_sub(self.rows_of(now)),
            reset: now.left_of_day(),
        });
        Judgement {
            refusal,
            requests: limits.requests.as_ref().map(|rate| self.requests.reading(rate, now.steady)),
            rows: limits.rows.as_ref().map(|rate| self.rows.reading(rate, now.steady)),
            rows_per_day,
        }
    }

    /// Rows of the day that it is.
    fn rows_of(&self, now: Moment) -> u64 {
        // A clock that was set back gives nobody a second day.
        if self.day >= now.day() { self.rows_of_day } else { 0 }
    }
}

fn settle(before: Gcra, verdict: Verdict, limit: Limit, refusal: &mut Option<Refusal>) -> Gcra {
    let retry = match verdict {
        Verdict::Pass(next) => return next,
        Verdict::Wait(wait) => Some(wait),
        Verdict::Never => None,
    };
    worst(refusal, Refusal { limit, retry });
    before
}

/// Of two refusals the longer wait, and never is the longest.
pub(crate) fn worst(refusal: &mut Option<Refusal>, other: Refusal) {
    let key = |refusal: &Refusal| refusal.retry.unwrap_or(Duration::MAX);
    if refusal.as_ref().is_none_or(|known| key(known) < key(&other)) {
        *refusal = Some(other);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;
    use crate::Rate;

    const NOON: u64 = 20_000 * DAY_SECONDS + DAY_SECONDS / 2;

    fn limits() -> Limits {
        Limits {
            requests: Some(Rate { per_second: 1.0, burst: 5 }),
            rows: Some(Rate { per_second: 10.0, burst: 20 }),
            rows_per_day: NonZeroU64::new(50),
            ..Limits::default()
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment { steady: (1_000 + seconds) * 1_000_000_000, utc_seconds: NOON + seconds }
    }

    fn ask(counts: &mut Counts, rows: u64, now: Moment) -> Option<(Limit, Option<u128>)> {
        let refusal = counts.judge(&limits(), Cost { rows }, now).refusal;
        refusal.map(|refusal| (refusal.limit, refusal.retry.map(|retry| retry.as_millis())))
    }

    #[test]
    fn one_that_is_refused_takes_nothing() {
        let mut counts = Counts::default();
        assert_eq!(ask(&mut counts, 15, at(0)), None);
        let before = counts;
        assert_eq!(ask(&mut counts, 10, at(0)), Some((Limit::Rows, Some(500))));
        assert_eq!(counts, before, "not even of the requests");
        assert_eq!(ask(&mut counts, 5, at(0)), None);
    }

    #[test]
    fn the_limit_that_lasts_longest_is_told() {
        let mut counts = Counts::default();
        for _ in 0..5 {
            assert_eq!(ask(&mut counts, 4, at(0)), None);
        }
        assert_eq!(
            ask(&mut counts, 4, at(0)),
            Some((Limit::Requests, Some(1000))),
            "rows are back after 400 ms"
        );
        assert_eq!(ask(&mut counts, 21, at(0)), Some((Limit::Rows, None)), "so many pass never");
    }

    #[test]
    fn a_day_ends_at_midnight() {
        let mut counts = Counts::default();
        for minute in 0..5 {
            assert_eq!(ask(&mut counts, 10, at(60 * minute)), None);
        }
        let left = DAY_SECONDS / 2 - 600;
        assert_eq!(ask(&mut counts, 1, at(600)), Some((Limit::RowsPerDay, Some(u128::from(left) * 1000))));
        let judged = counts.judge(&limits(), Cost { rows: 1 }, at(600));
        assert_eq!(judged.rows_per_day, Some(Reading { remaining: 0, reset: Duration::from_secs(left) }));
        assert_eq!(ask(&mut counts, 20, at(DAY_SECONDS / 2)), None);
        let judged = counts.judge(&limits(), Cost { rows: 1 }, at(DAY_SECONDS / 2 + 100));
        assert_eq!(judged.rows_per_day.unwrap().remaining, 29);
        assert_eq!(ask(&mut counts, 51, at(DAY_SECONDS / 2 + 100)).unwrap().1, None, "more than a day has");
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_second_day() {
        let mut counts = Counts::default();
        for minute in 0..5 {
            assert_eq!(ask(&mut counts, 10, at(60 * minute)), None);
        }
        let back = Moment { utc_seconds: NOON - DAY_SECONDS, ..at(600) };
        assert_eq!(ask(&mut counts, 1, back).unwrap().0, Limit::RowsPerDay);
    }

    #[test]
    fn a_day_that_a_clock_ran_ahead_to_ends_with_the_day_that_it_is() {
        let mut counts = Counts::default();
        let ahead = |seconds| Moment { utc_seconds: NOON + 5 * 365 * DAY_SECONDS, ..at(seconds) };
        for minute in 0..5 {
            assert_eq!(ask(&mut counts, 10, ahead(60 * minute)), None);
        }
        let left = u128::from(DAY_SECONDS / 2 - 600) * 1000;
        assert_eq!(ask(&mut counts, 1, at(600)), Some((Limit::RowsPerDay, Some(left))));
        assert_eq!(ask(&mut counts, 1, at(DAY_SECONDS / 2)), None);
    }

    #[test]
    fn what_others_have_counted_is_known_here() {
        let (mut theirs, mut ours) = (Counts::default(), Counts::default());
        let judged = theirs.judge(&limits(), Cost { rows: 12 }, at(0));
        ours.learn(&judged, &limits(), at(0));
        let later = |counts: &mut Counts| counts.judge(&limits(), Cost { rows: 3 }, at(0));
        assert_eq!(later(&mut ours), later(&mut theirs));
    }

    proptest! {
        #[test]
        fn jumps_of_the_wall_clock_give_and_take_no_tokens(
            asked in prop::collection::vec((1_u64..30, 0_u64..4, -10_i64..10), 1..60),
        ) {
            let limits = Limits { rows_per_day: None, ..limits() };
            let (mut counts, mut jumped) = (Counts::default(), Counts::default());
            let (mut seconds, mut off) = (0, 0);
            for (rows, gap, days) in asked {
                seconds += gap;
                off += days * 86_400;
                let then = Moment { utc_seconds: at(seconds).utc_seconds.saturating_add_signed(off), ..at(seconds) };
                let judged = counts.judge(&limits, Cost { rows }, at(seconds));
                prop_assert_eq!(jumped.judge(&limits, Cost { rows }, then), judged);
            }
        }

        #[test]
        fn who_comes_back_when_told_is_let_through(asked in prop::collection::vec((1_u64..30, 0_u64..4), 1..60)) {
            let mut counts = Counts::default();
            let mut seconds = 0;
            for (rows, gap) in asked {
                seconds += gap;
                let judged = counts.judge(&limits(), Cost { rows }, at(seconds));
                if let Some(Refusal { retry: Some(retry), .. }) = judged.refusal {
                    let mut copy = counts;
                    let then = at(seconds);
                    let then = Moment {
                        steady: then.steady + u64::try_from(retry.as_nanos()).unwrap(),
                        utc_seconds: then.utc_seconds + retry.as_secs(),
                    };
                    prop_assert_eq!(copy.judge(&limits(), Cost { rows }, then).refusal, None);
                }
            }
        }
    }
}
