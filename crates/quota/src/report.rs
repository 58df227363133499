//! What clients are told of limits, in the words of draft-ietf-httpapi-ratelimit-headers-10: lists of structured fields (RFC 9651).

use std::fmt::Write as _;
use std::time::Duration;

use crate::{Judgement, Limit, Limits, Rate, Reading};

/// Most that a whole number in a structured field may be.
const MAX_INTEGER: u64 = 999_999_999_999_999;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits that there are: `RateLimit-Policy`.
pub(crate) fn policy(limits: &Limits) -> String {
    let mut text = String::new();
    if let Some(rate) = &limits.requests {
        entry(&mut text, Limit::Requests, &[("q", rate.burst), ("w", seconds(rate.window()))], None);
    }
    if let Some(rate) = &limits.rows {
        entry(&mut text, Limit::Rows, &[("q", rate.burst), ("w", seconds(rate.window()))], Some("rows"));
    }
    if let Some(most) = limits.concurrent_requests {
        let unit = Some("concurrent-requests");
        entry(&mut text, Limit::ConcurrentRequests, &[("q", most.get().into())], unit);
    }
    if let Some(most) = limits.rows_per_day {
        entry(&mut text, Limit::RowsPerDay, &[("q", most.get()), ("w", seconds(DAY))], Some("rows"));
    }
    text
}

/// How they stand: `RateLimit`. `free` is what is left of those at a time.
pub(crate) fn state(judgement: &Judgement, limits: &Limits, free: Option<u32>) -> String {
    // Four entries at most.
    let mut text = String::with_capacity(96);
    rate(&mut text, Limit::Requests, judgement.requests, limits.requests);
    rate(&mut text, Limit::Rows, judgement.rows, limits.rows);
    if let Some(free) = free {
        // When one of them ends nobody knows.
        entry(&mut text, Limit::ConcurrentRequests, &[("r", free.into())], None);
    }
    if let Some(Reading { remaining, reset }) = judgement.rows_per_day {
        entry(&mut text, Limit::RowsPerDay, &[("r", remaining), ("t", seconds(reset))], None);
    }
    text
}

/// The time is that after which there is more than now, be it one: none where nothing is missing.
fn rate(text: &mut String, limit: Limit, reading: Option<Reading>, rate: Option<Rate>) {
    let (Some(reading), Some(rate)) = (reading, rate) else {
        return;
    };
    let left = ("r", reading.remaining);
    match rate.next(&reading) {
        Some(next) => entry(text, limit, &[left, ("t", seconds(next))], None),
        None => entry(text, limit, &[left], None),
    }
}

fn entry(text: &mut String, limit: Limit, parameters: &[(&str, u64)], unit: Option<&str>) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    // Writing to text cannot fail.
    let _ = write!(text, "\"{limit}\"");
    for (name, value) in parameters {
        let _ = write!(text, ";{name}={}", value.min(&MAX_INTEGER));
    }
    if let Some(unit) = unit {
        let _ = write!(text, ";qu=\"{unit}\"");
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use super::*;

    #[test]
    fn all_limits_are_told_as_structured_fields() {
        let limits = Limits {
            requests: Some(Rate { per_second: 10.0, burst: 25 }),
            rows: Some(Rate { per_second: 0.5, burst: 1 }),
            concurrent_requests: NonZeroU32::new(8),
            rows_per_day: NonZeroU64::new(u64::MAX),
        };
        assert_eq!(
            policy(&limits),
            r#""requests";q=25;w=3, "rows";q=1;w=2;qu="rows", "concurrent-requests";q=8;qu="concurrent-requests", "rows-per-day";q=999999999999999;w=86400;qu="rows""#
        );
        let reading = |remaining, reset| Some(Reading { remaining, reset: Duration::from_millis(reset) });
        let judgement = Judgement {
            refusal: None,
            requests: reading(4, 2100),
            rows: reading(0, 2000),
            rows_per_day: reading(7, 3_600_000),
        };
        assert_eq!(
            state(&judgement, &limits, Some(3)),
            r#""requests";r=4;t=1, "rows";r=0;t=2, "concurrent-requests";r=3, "rows-per-day";r=7;t=3600"#
        );
        let whole = Judgement { requests: reading(25, 0), rows: None, ..judgement };
        assert!(state(&whole, &limits, None).starts_with(r#""requests";r=25, "rows-per-day""#));
    }

    #[test]
    fn what_is_not_limited_is_not_told() {
        let limits = Limits { concurrent_requests: NonZeroU32::new(1), ..Limits::default() };
        assert_eq!(policy(&limits), r#""concurrent-requests";q=1;qu="concurrent-requests""#);
        let judgement = Judgement { refusal: None, requests: None, rows: None, rows_per_day: None };
        assert_eq!(
            (policy(&Limits::default()), state(&judgement, &limits, None)),
            (String::new(), String::new())
        );
    }
}
