use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a tier is left alone.
const FAILURES: u32 = 3;
/// For how long, at first and at most: twice as long each time that a trial fails.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Decides whether a tier is asked: not while it fails, but for one trial call after each pause.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    pause: Duration,
    until: Instant,
}

/// What one failure did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tripped {
    /// The tier is left alone from now on.
    Now,
    /// It is left alone still, or not yet.
    No,
}

impl Breaker {
    /// Whether a call may be made now. If it may, its outcome must be told.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        match &mut self.open {
            None => true,
            Some(open) if now >= open.until => {
                // The trial's time: nobody else tries until it has ended, or should have.
                open.until = now + open.pause;
                true
            }
            Some(_) => false,
        }
    }

    /// A call went well. Whether the tier was left alone before.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.open.take().is_some()
    }

    /// A call failed.
    pub(crate) fn failed(&mut self, now: Instant) -> Tripped {
        self.failures = self.failures.saturating_add(1);
        match &mut self.open {
            Some(open) => {
                open.pause = (open.pause * 2).min(LONGEST_PAUSE);
                open.until = now + open.pause;
                Tripped::No
            }
            None if self.failures < FAILURES => Tripped::No,
            None => {
                self.open = Some(Open { pause: FIRST_PAUSE, until: now + FIRST_PAUSE });
                Tripped::Now
            }
        }
    }

    /// Whether the tier is left alone.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tier_that_fails_is_left_alone_and_tried_again() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 1..FAILURES {
            assert!(breaker.admits(start));
            assert_eq!(breaker.failed(start), Tripped::No);
        }
        assert!(breaker.admits(start));
        assert_eq!(breaker.failed(start), Tripped::Now);
        assert!(!breaker.admits(start) && breaker.is_open());
        let later = start + FIRST_PAUSE;
        assert!(breaker.admits(later), "one trial");
        assert!(!breaker.admits(later), "and not two");
        assert_eq!(breaker.failed(later), Tripped::No);
        assert!(!breaker.admits(later + FIRST_PAUSE), "the pause has doubled");
        assert!(breaker.admits(later + 2 * FIRST_PAUSE));
        assert!(breaker.succeeded(), "it was left alone");
        assert!(breaker.admits(later + 2 * FIRST_PAUSE) && !breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_not_in_a_row_trip_nothing() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            assert_eq!(breaker.failed(Instant::now()), Tripped::No);
            assert!(!breaker.succeeded());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_do_not_grow_for_ever() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        for _ in 0..40 {
            breaker.failed(now);
            now += LONGEST_PAUSE;
            assert!(breaker.admits(now));
        }
    }
}
