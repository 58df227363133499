use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cached::{CacheOutcome, CacheReport};
use crate::failure::{Failure, FailureKind};

/// Longest latency that is told apart, in nanoseconds: ten minutes.
const LONGEST_NANOSECONDS: u64 = 600_000_000_000;

/// Significant digits of a recorded latency: errors stay below 0.1 %.
const DIGITS: u8 = 3;

/// Latencies of many requests.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(1, LONGEST_NANOSECONDS, DIGITS)
                .expect("invariant: the bounds are constants that the histogram accepts"),
        )
    }
}

impl Latencies {
    /// Takes one latency; those above ten minutes count as ten minutes.
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds);
    }

    /// Takes all latencies of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("invariant: all histograms have the same bounds");
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of requests (0 to 100) did not exceed; zero without requests.
    #[must_use]
    pub(crate) fn percentile(&self, percentile: f64) -> Duration {
        if self.0.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.0.value_at_quantile(percentile / 100.0).min(self.0.max()))
    }

    /// The arithmetic mean; zero without requests.
    #[must_use]
    pub(crate) fn mean(&self) -> Duration {
        Duration::try_from_secs_f64(self.0.mean() / 1e9).unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

/// How often one kind of failure came, and what the first one said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailureCount {
    /// How often.
    pub(crate) count: u64,
    /// The first one's message.
    pub(crate) example: String,
}

/// Latencies that only an open loop has.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenLoop {
    /// From the intended send time to the answer.
    pub(crate) response: Latencies,
    /// From the intended to the actual send time: how late the generator was, or how long it had to wait for a free
    /// connection.
    pub(crate) lateness: Latencies,
}

/// Times of one answered request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// From the actual send time to the answer.
    pub(crate) service: Duration,
    /// From the intended to the actual send time; `None` in a closed loop.
    pub(crate) late: Option<Duration>,
}

impl Timing {
    /// What a user would see: from the intended send time in an open loop, else from the actual one.
    pub(crate) fn total(&self) -> Duration {
        self.service + self.late.unwrap_or_default()
    }
}

/// One answered request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) timing: Timing,
    pub(crate) sent_bytes: usize,
    pub(crate) received_bytes: usize,
    /// Whether the same had been sent before.
    pub(crate) is_repeat: bool,
    /// What the server's response cache did, where it said so.
    pub(crate) cache: Option<CacheOutcome>,
    /// Whether it came before its deadline; true where there is none.
    pub(crate) in_time: bool,
}

/// What a window counts. Failed requests are counted by kind and have no part in the latencies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// From the actual send time to the answer.
    pub(crate) service: Latencies,
    /// Only in an open loop.
    pub(crate) open: Option<OpenLoop>,
    /// Bytes sent for answered requests.
    pub(crate) sent_bytes: u64,
    /// Bytes received in good answers.
    pub(crate) received_bytes: u64,
    /// Answered requests whose like had been sent before.
    pub(crate) repeats: u64,
    /// Answers that came before their deadline.
    pub(crate) in_time: u64,
    pub(crate) cache: CacheReport,
    /// Failures by kind.
    pub(crate) failures: BTreeMap<FailureKind, FailureCount>,
}

impl Tally {
    /// Takes one answered request.
    pub(crate) fn succeeded(&mut self, request: Answered) {
        let Answered { timing, sent_bytes, received_bytes, is_repeat, cache, in_time } = request;
        self.service.record(timing.service);
        if let Some(late) = timing.late {
            let open = self.open.get_or_insert_default();
            open.response.record(timing.total());
            open.lateness.record(late);
        }
        self.sent_bytes += sent_bytes as u64;
        self.received_bytes += received_bytes as u64;
        self.repeats += u64::from(is_repeat);
        self.in_time += u64::from(in_time);
        if let Some(outcome) = cache {
            self.cache.count(outcome);
        }
    }

    /// Takes one failed request.
    pub(crate) fn failed(&mut self, failure: Failure) {
        self.failures
            .entry(failure.kind)
            .or_insert_with(|| FailureCount { count: 0, example: failure.message.into_owned() })
            .count += 1;
    }

    /// Takes all that `other` counted.
    pub(crate) fn merge(&mut self, other: Tally) {
        self.service.merge(&other.service);
        if let Some(theirs) = &other.open {
            let open = self.open.get_or_insert_default();
            open.response.merge(&theirs.response);
            open.lateness.merge(&theirs.lateness);
        }
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.repeats += other.repeats;
        self.in_time += other.in_time;
        self.cache.add(&other.cache);
        for (kind, failures) in other.failures {
            self.failures
                .entry(kind)
                .and_modify(|mine| mine.count += failures.count)
                .or_insert(failures);
        }
    }

    /// Good answers.
    #[must_use]
    pub(crate) fn answered(&self) -> u64 {
        self.service.count()
    }

    /// Requests without a good answer.
    #[must_use]
    pub(crate) fn failed_count(&self) -> u64 {
        self.failures.values().map(|failure| failure.count).sum()
    }

    /// The latency that users would see: from the intended send time in an open loop, else the service latency.
    #[must_use]
    pub(crate) fn latency(&self) -> &Latencies {
        self.open.as_ref().map_or(&self.service, |open| &open.response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(milliseconds: u64) -> Answered {
        answered(Timing { service: Duration::from_millis(milliseconds), late: None })
    }

    fn answered(timing: Timing) -> Answered {
        let cache = Some(CacheOutcome::Hit);
        let in_time = timing.total() <= Duration::from_millis(500);
        Answered { timing, sent_bytes: 10, received_bytes: 20, is_repeat: true, cache, in_time }
    }

    fn close_to(actual: Duration, expected_milliseconds: f64) -> bool {
        (actual.as_secs_f64() * 1e3 / expected_milliseconds - 1.0).abs() < 0.002
    }

    #[test]
    fn percentiles_of_one_to_a_thousand_milliseconds() {
        let mut latencies = Latencies::default();
        for milliseconds in 1..=1000 {
            latencies.record(Duration::from_millis(milliseconds));
        }
        for (percentile, expected) in [(50.0, 500.0), (90.0, 900.0), (99.0, 990.0), (99.9, 999.0)] {
            let actual = latencies.percentile(percentile);
            assert!(close_to(actual, expected), "p{percentile}: {actual:?}");
        }
        assert!(close_to(latencies.max(), 1000.0));
        assert!(close_to(latencies.mean(), 500.5));
        assert_eq!(Latencies::default().percentile(99.0), Duration::ZERO);
    }

    #[test]
    fn merging_adds_requests_and_failures_by_kind() {
        let failure = |message: &'static str| Failure::new(FailureKind::Http(503), message);
        let (mut first, mut second) = (Tally::default(), Tally::default());
        first.succeeded(closed(1));
        first.failed(failure("busy"));
        second.succeeded(Answered { is_repeat: false, cache: None, ..closed(3) });
        second.failed(failure("later"));
        second.failed(Failure::new(FailureKind::Timeout, ""));
        first.merge(second);
        assert_eq!((first.answered(), first.failed_count(), first.received_bytes), (2, 3, 40));
        assert_eq!((first.repeats, first.cache.hit, first.cache.total()), (1, 1, 1));
        let busy = &first.failures[&FailureKind::Http(503)];
        assert_eq!((busy.count, busy.example.as_str()), (2, "busy"));
    }

    #[test]
    fn an_open_loop_counts_from_the_intended_time() {
        let mut tally = Tally::default();
        let late = Some(Duration::from_millis(9));
        tally.succeeded(answered(Timing { service: Duration::from_millis(1), late }));
        assert!(close_to(tally.latency().max(), 10.0));
        assert!(close_to(tally.service.max(), 1.0));
    }
}
