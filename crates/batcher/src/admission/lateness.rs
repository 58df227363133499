use std::time::Duration;

/// Shares of the latest observation in the mean and in the deviation.
const MEAN_GAIN: f64 = 1.0 / 8.0;
const DEVIATION_GAIN: f64 = 1.0 / 4.0;

/// Deviations from the mean that are allowed for.
const DEVIATIONS: f64 = 4.0;

/// How much later than was forecast answers come: mean and mean deviation, smoothed exponentially.
///
/// Source: V. Jacobson, M. J. Karels, "Congestion Avoidance and Control", SIGCOMM 1988, for round-trip times.
#[derive(Debug, Clone, Default)]
pub(super) struct Lateness {
    mean_seconds: f64,
    deviation_seconds: f64,
}

impl Lateness {
    /// What was forecast to take `forecast` took `took`.
    pub(super) fn observe(&mut self, forecast: Duration, took: Duration) {
        let error = took.as_secs_f64() - forecast.as_secs_f64() - self.mean_seconds;
        self.mean_seconds += MEAN_GAIN * error;
        self.deviation_seconds += DEVIATION_GAIN * (error.abs() - self.deviation_seconds);
    }

    /// What is to be added to a forecast, so that few answers come later.
    pub(super) fn margin(&self) -> Duration {
        let seconds = self.mean_seconds + DEVIATIONS * self.deviation_seconds;
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn forecasts_that_hold_need_no_margin() {
        let mut lateness = Lateness::default();
        for _ in 0..10 {
            lateness.observe(ms(20), ms(20));
        }
        assert_eq!(lateness.margin(), Duration::ZERO);
    }

    #[test]
    fn a_lasting_error_is_learnt_and_forgotten() {
        let mut lateness = Lateness::default();
        for _ in 0..60 {
            lateness.observe(ms(20), ms(25));
        }
        let margin = lateness.margin();
        assert!(margin > ms(4) && margin < ms(6), "{margin:?}");
        for _ in 0..60 {
            lateness.observe(ms(20), ms(20));
        }
        assert!(lateness.margin() < ms(1), "{:?}", lateness.margin());
    }

    #[test]
    fn noise_widens_the_margin() {
        let mut lateness = Lateness::default();
        for round in 0..100 {
            lateness.observe(ms(20), ms(if round % 2 == 0 { 17 } else { 23 }));
        }
        assert!(lateness.margin() > ms(8), "{:?}", lateness.margin());
    }
}
