//! What clients are told of limits.

use std::time::Duration;

use adulis_types::{QuotaPolicy, QuotaReport, QuotaStanding, QuotaTerm};

use crate::{Judgement, Limit, Limits, Rate, Reading};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROWS: &str = "rows";

/// How limits stand, in the order of [`Limit::ALL`].
pub(crate) type Standings = [Option<QuotaStanding>; QuotaReport::MAX_LIMITS];

/// The limits that there are.
pub(crate) fn policy(limits: &Limits) -> QuotaPolicy {
    let term = |limit: Limit, quota, window, unit| QuotaTerm { limit: limit.as_str(), quota, window, unit };
    let rate = |limit, rate: Rate, unit| term(limit, rate.burst, Some(rate.window()), unit);
    let terms = [
        limits.requests.map(|of| rate(Limit::Requests, of, None)),
        limits.rows.map(|of| rate(Limit::Rows, of, Some(ROWS))),
        limits.concurrent_requests.map(|most| {
            let limit = Limit::ConcurrentRequests;
            term(limit, most.get().into(), None, Some(limit.as_str()))
        }),
        limits.rows_per_day.map(|most| term(Limit::RowsPerDay, most.get(), Some(DAY), Some(ROWS))),
    ];
    QuotaPolicy::new(terms.iter().flatten())
}

/// How they stand. `free` is what is left of those at a time.
pub(crate) fn standings(judgement: &Judgement, limits: &Limits, free: Option<u32>) -> Standings {
    let standing =
        |limit: Limit, remaining, more_after| QuotaStanding { limit: limit.as_str(), remaining, more_after };
    // The time is that after which there is more than now, be it one.
    let rate = |limit, reading: Option<Reading>, rate: Option<Rate>| {
        let (reading, rate) = reading.zip(rate)?;
        Some(standing(limit, reading.remaining, rate.next(&reading)))
    };
    [
        rate(Limit::Requests, judgement.requests, limits.requests),
        rate(Limit::Rows, judgement.rows, limits.rows),
        // When one of them ends nobody knows.
        free.map(|free| standing(Limit::ConcurrentRequests, free.into(), None)),
        judgement
            .rows_per_day
            .map(|day| standing(Limit::RowsPerDay, day.remaining, Some(day.reset))),
    ]
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use super::*;

    /// The values of the header fields.
    fn told(judgement: &Judgement, limits: &Limits, free: Option<u32>) -> [String; 2] {
        let standings = standings(judgement, limits, free);
        let fields = QuotaReport { policy: policy(limits), standings }.fields();
        fields.map(|(_, value)| String::from_utf8(value.into()).unwrap())
    }

    #[test]
    fn all_limits_are_told() {
        let limits = Limits {
            requests: Some(Rate { per_second: 10.0, burst: 25 }),
            rows: Some(Rate { per_second: 0.5, burst: 1 }),
            concurrent_requests: NonZeroU32::new(8),
            rows_per_day: NonZeroU64::new(50),
        };
        let reading = |remaining, reset| Some(Reading { remaining, reset: Duration::from_millis(reset) });
        let judgement = Judgement {
            refusal: None,
            requests: reading(4, 2100),
            rows: reading(0, 2000),
            rows_per_day: reading(7, 3_600_000),
        };
        assert_eq!(
            told(&judgement, &limits, Some(3)),
            [
                r#""requests";q=25;w=3, "rows";q=1;w=2;qu="rows", "concurrent-requests";q=8;qu="concurrent-requests", "rows-per-day";q=50;w=86400;qu="rows""#,
                r#""requests";r=4;t=1, "rows";r=0;t=2, "concurrent-requests";r=3, "rows-per-day";r=7;t=3600"#
            ]
        );
        let whole = Judgement { requests: reading(25, 0), rows: None, ..judgement };
        assert!(told(&whole, &limits, None)[1].starts_with(r#""requests";r=25, "rows-per-day""#));
    }

    #[test]
    fn what_is_not_limited_is_not_told() {
        let limits = Limits { concurrent_requests: NonZeroU32::new(1), ..Limits::default() };
        let judgement = Judgement { refusal: None, requests: None, rows: None, rows_per_day: None };
        let policy = r#""concurrent-requests";q=1;qu="concurrent-requests""#;
        assert_eq!(told(&judgement, &limits, None), [policy, ""]);
        assert_eq!(told(&judgement, &Limits::default(), None), ["", ""]);
    }
}
