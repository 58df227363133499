use std::time::Duration;

use crate::Reading;

const NANOSECONDS: f64 = 1e9;

/// Bits of a part of a nanosecond, so that the rates of rows are met exactly enough, and everything is computed in whole numbers.
const FRACTION_BITS: u32 = 16;

/// So much in a second, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In a second, on average. More than zero.
    pub per_second: f64,
    /// At once, after a time in which nothing was asked for. One at least.
    pub burst: u64,
}

impl Rate {
    /// Time in which all of it comes back.
    #[must_use]
    pub fn window(&self) -> Duration {
        duration(self.time_of(self.burst))
    }

    /// When there is one more than now; `None` where nothing is missing.
    pub(crate) fn next(&self, reading: &Reading) -> Option<Duration> {
        let others = self.burst.saturating_sub(reading.remaining).checked_sub(1)?;
        let whole = fixed(u64::try_from(reading.reset.as_nanos()).unwrap_or(u64::MAX));
        Some(duration(whole.saturating_sub(self.time_of(others))))
    }

    /// Time in which one unit comes back.
    fn interval(&self) -> u128 {
        let nanoseconds = NANOSECONDS / self.per_second.max(f64::MIN_POSITIVE);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is too large for it becomes the largest whole number"
        )]
        let interval = (nanoseconds * f64::from(1_u32 << FRACTION_BITS)).round() as u128;
        interval.max(1)
    }

    /// Time in which so many units come back.
    fn time_of(&self, units: u64) -> u128 {
        self.interval().saturating_mul(u128::from(units))
    }
}

fn fixed(nanoseconds: u64) -> u128 {
    u128::from(nanoseconds) << FRACTION_BITS
}

/// Rounded up; at most centuries.
fn duration(fixed: u128) -> Duration {
    let nanoseconds = fixed.div_ceil(1 << FRACTION_BITS);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// The generic cell rate algorithm, as a virtual scheduling algorithm: what was let through, as the time at which all of it is
/// there again. Times are nanoseconds of any one clock.
///
/// Source: ITU-T Recommendation I.371, annex A, with costs of more than one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gcra {
    /// The theoretical arrival time, with [`FRACTION_BITS`].
    whole_at: u128,
}

/// Whether so much may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may; this is the state then.
    Pass(Gcra),
    /// It may after this time.
    Wait(Duration),
    /// It is more than passes at once.
    Never,
}

impl Gcra {
    pub(crate) fn judge(self, rate: &Rate, units: u64, now: u64) -> Verdict {
        if units > rate.burst {
            return Verdict::Never;
        }
        let whole_at = self.whole_at.max(fixed(now)).saturating_add(rate.time_of(units));
        let latest = fixed(now).saturating_add(rate.time_of(rate.burst));
        match whole_at.saturating_sub(latest) {
            0 => Verdict::Pass(Self { whole_at }),
            wait => Verdict::Wait(duration(wait)),
        }
    }

    /// What is left, and when all of it is there again.
    pub(crate) fn reading(self, rate: &Rate, now: u64) -> Reading {
        let missing = self.whole_at.saturating_sub(fixed(now));
        let gone = u64::try_from(missing.div_ceil(rate.interval())).unwrap_or(u64::MAX);
        Reading { remaining: rate.burst.saturating_sub(gone), reset: duration(missing) }
    }

    /// Takes over what somebody else has counted: all of it is there again after this time.
    pub(crate) fn learn(&mut self, reset: Duration, now: u64) {
        let reset = u64::try_from(reset.as_nanos()).unwrap_or(u64::MAX);
        self.whole_at = fixed(now.saturating_add(reset));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pass(state: &mut Gcra, rate: &Rate, units: u64, now: u64) -> Verdict {
        let verdict = state.judge(rate, units, now);
        if let Verdict::Pass(next) = verdict {
            *state = next;
        }
        verdict
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let rate = Rate { per_second: 10.0, burst: 3 };
        let mut state = Gcra::default();
        for left in [2, 1, 0] {
            assert!(matches!(pass(&mut state, &rate, 1, SECOND), Verdict::Pass(_)));
            assert_eq!(state.reading(&rate, SECOND).remaining, left);
        }
        assert_eq!(pass(&mut state, &rate, 1, SECOND), Verdict::Wait(Duration::from_millis(100)));
        assert_eq!(pass(&mut state, &rate, 3, SECOND), Verdict::Wait(Duration::from_millis(300)));
        assert_eq!(pass(&mut state, &rate, 4, SECOND), Verdict::Never);
        assert_eq!(state.reading(&rate, SECOND).reset, Duration::from_millis(300));
        assert!(matches!(pass(&mut state, &rate, 1, SECOND + SECOND / 10), Verdict::Pass(_)));
        assert_eq!(state.reading(&rate, 10 * SECOND), Reading { remaining: 3, reset: Duration::ZERO });
    }

    #[test]
    fn the_next_unit_comes_before_all_of_them() {
        let rate = Rate { per_second: 10.0, burst: 3 };
        let mut state = Gcra::default();
        let next = |state: Gcra, now| rate.next(&state.reading(&rate, now));
        assert_eq!(next(state, SECOND), None, "there is none that is missing");
        for _ in 0..3 {
            pass(&mut state, &rate, 1, SECOND);
            assert_eq!(next(state, SECOND), Some(Duration::from_millis(100)));
        }
        assert_eq!(next(state, SECOND + SECOND / 4), Some(Duration::from_millis(50)));
    }

    #[test]
    fn a_unit_may_take_days_to_come_back() {
        let rate = Rate { per_second: 1e-6, burst: 5 };
        let mut state = Gcra::default();
        pass(&mut state, &rate, 3, SECOND);
        let whole = Reading { remaining: 2, reset: Duration::from_secs(3_000_000) };
        assert_eq!(state.reading(&rate, SECOND), whole);
        assert_eq!(rate.window(), Duration::from_secs(5_000_000));
    }

    #[test]
    fn rates_of_any_size_stay_within_their_numbers() {
        for per_second in [1e-9, 0.5, 1.0, 1e9, f64::MAX, f64::MIN_POSITIVE] {
            let rate = Rate { per_second, burst: u64::MAX };
            let mut state = Gcra::default();
            for now in [0, SECOND, u64::MAX] {
                pass(&mut state, &rate, u64::MAX, now);
                let _ = (state.reading(&rate, now), rate.window());
            }
        }
    }

    fn rate() -> impl Strategy<Value = Rate> {
        (prop_oneof![0.1_f64..10.0, 10.0..100_000.0], 1_u64..500)
            .prop_map(|(per_second, burst)| Rate { per_second, burst })
    }

    proptest! {
        #[test]
        fn in_no_time_passes_more_than_rate_and_burst_and_what_is_told_is_true(
            rate in rate(),
            asked in prop::collection::vec((1_u64..600, 0_u64..3 * SECOND), 1..200),
        ) {
            let mut state = Gcra::default();
            let mut now = SECOND;
            let mut passed: Vec<(u64, u64)> = Vec::new();
            for (units, gap) in asked {
                now += gap;
                let before = state.reading(&rate, now);
                match pass(&mut state, &rate, units, now) {
                    Verdict::Never => prop_assert!(units > rate.burst),
                    Verdict::Wait(wait) => {
                        let wait = u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(units > before.remaining, "{units} of {before:?}");
                        // At that moment it would pass, and just before it would not.
                        prop_assert!(matches!(state.judge(&rate, units, now + wait), Verdict::Pass(_)));
                        let early = state.judge(&rate, units, now + wait - 1);
                        prop_assert!(matches!(early, Verdict::Wait(_)));
                        // And the next unit is there no later than what was asked for.
                        let next = rate.next(&before).unwrap();
                        prop_assert!(u64::try_from(next.as_nanos()).unwrap() <= wait + 1, "{next:?} of {wait}");
                    }
                    Verdict::Pass(_) => {
                        // What was told to be left is what passes.
                        prop_assert!(units <= before.remaining, "{units} of {before:?}");
                        passed.push((now, units));
                    }
                }
            }
            for (from, (begun, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (at, units) in &passed[from..] {
                    sum += units;
                    let seconds = (at - begun) as f64 / SECOND as f64;
                    let most = rate.burst as f64 + rate.per_second * seconds;
                    prop_assert!(sum as f64 <= most * (1.0 + 1e-5) + 1e-3, "{sum} within {seconds} s of {rate:?}");
                }
            }
        }
    }
}
