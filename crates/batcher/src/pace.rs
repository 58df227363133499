use std::time::{Duration, Instant};

/// Share of the latest interval in the average: about the last eight requests count.
const WEIGHT: f64 = 1.0 / 8.0;

/// How fast requests come: the mean interval between them, smoothed exponentially.
///
/// Intervals count as no longer than a limit, so that a pause, however long, is forgotten within a few requests.
#[derive(Debug, Clone)]
pub struct Pace {
    latest: Option<Instant>,
    interval_seconds: f64,
    longest: Duration,
}

impl Pace {
    /// A pace that is slow until requests come. Intervals count as at most `longest`.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self { latest: None, interval_seconds: longest.as_secs_f64(), longest }
    }

    /// A request came at `at`. Requests may be told in another order than they came in.
    pub fn note(&mut self, at: Instant) {
        let interval = match self.latest {
            Some(latest) => at.saturating_duration_since(latest).min(self.longest),
            None => self.longest,
        };
        self.latest = self.latest.max(Some(at));
        self.interval_seconds += WEIGHT * (interval.as_secs_f64() - self.interval_seconds);
    }

    /// Whether `count` more requests are expected within `span`.
    #[must_use]
    pub fn expects(&self, count: f64, span: Duration) -> bool {
        self.interval_seconds * count < span.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// A pace after `count` requests, one per `interval`, and when the last one came.
    fn steady(pace: &mut Pace, from: Instant, count: u32, interval: Duration) -> Instant {
        (0..count).fold(from, |at, _| {
            pace.note(at + interval);
            at + interval
        })
    }

    #[test]
    fn nothing_is_expected_before_requests_come() {
        let mut pace = Pace::new(400 * MICROSECOND);
        assert!(!pace.expects(1.0, 400 * MICROSECOND));
        pace.note(Instant::now());
        assert!(!pace.expects(1.0, 400 * MICROSECOND));
    }

    #[test]
    fn a_steady_pace_is_found_within_thirty_requests_and_a_pause_forgotten_as_fast() {
        let mut pace = Pace::new(400 * MICROSECOND);
        let at = steady(&mut pace, Instant::now(), 30, 20 * MICROSECOND);
        assert!(pace.expects(1.0, 30 * MICROSECOND), "{pace:?}");
        assert!(!pace.expects(1.0, 20 * MICROSECOND), "{pace:?}");
        assert!(pace.expects(4.0, 120 * MICROSECOND), "{pace:?}");
        let at = steady(&mut pace, at, 1, Duration::from_secs(3600));
        assert!(!pace.expects(1.0, 60 * MICROSECOND), "{pace:?}");
        steady(&mut pace, at, 30, 20 * MICROSECOND);
        assert!(pace.expects(1.0, 30 * MICROSECOND), "{pace:?}");
    }

    #[test]
    fn the_order_in_which_requests_are_told_changes_little() {
        let start = Instant::now();
        let mut pace = Pace::new(400 * MICROSECOND);
        for pair in 0..100 {
            for at in [2 * pair + 1, 2 * pair] {
                pace.note(start + at * 20 * MICROSECOND);
            }
        }
        assert!(pace.expects(1.0, 30 * MICROSECOND), "{pace:?}");
        assert!(!pace.expects(1.0, 10 * MICROSECOND), "{pace:?}");
    }
}
