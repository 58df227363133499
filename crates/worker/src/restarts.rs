use std::time::Duration;

use adulis_retry::{Backoff, BackoffOptions};

/// Failures in a row of what is started again and again, and the pause before it is started once more: none after a success.
#[derive(Debug)]
pub struct Restarts {
    backoff: Backoff,
    failures: u32,
    delay: Duration,
}

impl Restarts {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(min_delay: Duration, max_delay: Duration) -> Self {
        let backoff = Backoff::new(BackoffOptions { min_delay, max_delay });
        Self { backoff, failures: 0, delay: Duration::ZERO }
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// It went well.
    pub fn succeeded(&mut self) {
        self.backoff.reset();
        (self.failures, self.delay) = (0, Duration::ZERO);
    }

    /// It failed once more.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.delay = self.backoff.next_delay();
    }

    /// How long to wait now.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_are_none_after_a_success() {
        let mut restarts = Restarts::new(Duration::from_millis(100), Duration::from_millis(350));
        assert_eq!((restarts.failures(), restarts.delay()), (0, Duration::ZERO));
        for (failures, limit) in [(1, 100), (2, 200), (3, 350), (4, 350)] {
            restarts.failed();
            let (delay, limit) = (restarts.delay(), Duration::from_millis(limit));
            assert_eq!(restarts.failures(), failures);
            assert!(delay >= limit.mul_f64(0.499) && delay <= limit.mul_f64(1.001), "{delay:?} of {limit:?}");
        }
        restarts.succeeded();
        assert_eq!((restarts.failures(), restarts.delay()), (0, Duration::ZERO));
        restarts.failed();
        assert!(restarts.delay() <= Duration::from_millis(101));
    }
}
