use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// How long pauses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffOptions {
    /// The first one, at most.
    pub min_delay: Duration,
    /// Any of them, at most.
    pub max_delay: Duration,
}

/// The pauses between attempts at one thing: each up to twice as long as the last, and of each a half left to chance.
///
/// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, "equal jitter".
#[derive(Debug)]
pub struct Backoff {
    options: BackoffOptions,
    delays: ExponentialBackoff,
    is_fresh: bool,
}

impl Backoff {
    /// Before the first pause.
    #[must_use]
    pub fn new(options: BackoffOptions) -> Self {
        Self { options, delays: builder(options).build(), is_fresh: true }
    }

    /// The same, with the same chance each time.
    #[must_use]
    pub fn with_seed(options: BackoffOptions, seed: u64) -> Self {
        let delays = builder(options).with_jitter_seed(seed).build();
        Self { options, delays, is_fresh: true }
    }

    /// The next pause.
    pub fn next_delay(&mut self) -> Duration {
        self.is_fresh = false;
        // There is no last one.
        let delay = self.delays.next().unwrap_or(self.options.max_delay);
        delay.min(self.options.max_delay)
    }

    /// It worked: the next pause is as short as the first. Costs nothing where there was no pause.
    pub fn reset(&mut self) {
        if !self.is_fresh {
            *self = Self::new(self.options);
        }
    }
}

/// The library adds chance to a delay, up to as much again: half the delay and half of it left to chance is what is wanted.
fn builder(options: BackoffOptions) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(options.min_delay / 2)
        .with_max_delay(options.max_delay / 2)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPTIONS: BackoffOptions =
        BackoffOptions { min_delay: Duration::from_millis(100), max_delay: Duration::from_secs(1) };

    #[test]
    fn delays_double_up_to_the_limit_and_half_of_each_is_chance() {
        let mut backoff = Backoff::new(OPTIONS);
        for limit in [100, 200, 400, 800, 1000, 1000, 1000] {
            let limit = Duration::from_millis(limit);
            let delay = backoff.next_delay();
            // Delays are computed in floating point.
            assert!(delay >= limit.mul_f64(0.499) && delay <= limit.mul_f64(1.001), "{delay:?} of {limit:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(101));
    }

    #[test]
    fn those_who_failed_together_do_not_try_again_together() {
        let mut delays: Vec<Duration> = (0..64).map(|_| Backoff::new(OPTIONS).next_delay()).collect();
        delays.sort();
        delays.dedup();
        assert!(delays.len() > 32, "{} of 64 differ", delays.len());
        let spread = delays[delays.len() - 1] - delays[0];
        assert!(spread > Duration::from_millis(20), "{spread:?}");
    }

    proptest! {
        #[test]
        fn no_delay_is_longer_than_the_limit(min in 0_u64..10_000, more in 0_u64..100_000, seed in any::<u64>()) {
            let min_delay = Duration::from_millis(min);
            let options = BackoffOptions { min_delay, max_delay: min_delay + Duration::from_millis(more) };
            let mut backoff = Backoff::with_seed(options, seed);
            for _ in 0..40 {
                prop_assert!(backoff.next_delay() <= options.max_delay);
            }
        }
    }
}
