use std::time::Duration;

/// How slowly the body of a request may arrive: a client that sends a byte now and then holds memory for nothing. No clock
/// inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long the whole body may take.
    pub whole: Duration,
    /// How long it may take before its rate is looked at.
    pub grace: Duration,
    /// The least bytes per second after that, on average; 0: any.
    pub bytes_per_second: usize,
}

/// Why a body is too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The whole of it did not come in time.
    Whole,
    /// It comes too slowly.
    Slow,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            whole: Duration::from_secs(60),
            grace: Duration::from_secs(5),
            bytes_per_second: 1024,
        }
    }
}

impl Pace {
    /// How long after its beginning a body is too late unless more of it has come by then than `received` bytes.
    #[must_use]
    pub fn deadline(&self, received: usize) -> Duration {
        if self.bytes_per_second == 0 {
            return self.whole;
        }
        let milliseconds = (received as u128).saturating_mul(1000) / self.bytes_per_second as u128;
        let earned = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX));
        self.grace.saturating_add(earned).min(self.whole)
    }

    /// Whether a body is too late of which `received` bytes have come, so long after its beginning.
    #[must_use]
    pub fn late(&self, elapsed: Duration, received: usize) -> Option<Late> {
        if elapsed >= self.whole {
            Some(Late::Whole)
        } else {
            (elapsed >= self.deadline(received)).then_some(Late::Slow)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PACE: Pace = Pace { whole: Duration::from_secs(60), grace: SECOND, bytes_per_second: 100 };

    #[test]
    fn what_has_come_earns_time_up_to_the_whole() {
        for (received, seconds) in [(0, 1), (100, 2), (1000, 11), (1_000_000, 60), (usize::MAX, 60)] {
            assert_eq!(PACE.deadline(received).as_secs(), seconds, "{received}");
        }
        let any = Pace { bytes_per_second: 0, ..PACE };
        assert_eq!(any.deadline(0), PACE.whole);
    }

    #[test]
    fn a_trickle_is_late_and_a_stream_is_not() {
        assert_eq!(PACE.late(SECOND / 2, 0), None);
        assert_eq!(PACE.late(SECOND * 10, 10), Some(Late::Slow));
        assert_eq!(PACE.late(SECOND * 10, 10_000), None);
        assert_eq!(PACE.late(SECOND * 60, usize::MAX), Some(Late::Whole));
    }

    proptest! {
        /// Whoever keeps to the rate is never too slow, and who waits until the deadline without sending always is.
        #[test]
        fn the_deadline_is_when_it_is_late(received in 0_usize..1 << 40, rate in 1_usize..1 << 30, seconds in 0_u64..60) {
            let pace = Pace { bytes_per_second: rate, ..PACE };
            prop_assert!(pace.late(pace.deadline(received), received).is_some());
            let enough = rate.saturating_mul(usize::try_from(seconds).unwrap());
            prop_assert_eq!(pace.late(Duration::from_secs(seconds), enough), None);
        }
    }
}
