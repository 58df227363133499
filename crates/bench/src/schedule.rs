use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// How the gaps between requests of an open loop are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Exponential gaps: independent users.
    Poisson,
    /// Equal gaps.
    #[value(alias = "fixed")]
    Constant,
}

/// The intended send times of an open loop, as offsets from its start. No clock inside: the same seed gives the same
/// times.
#[derive(Debug, Clone)]
pub struct Arrivals {
    gap_seconds: f64,
    distribution: Distribution,
    random: SmallRng,
    /// Index of the next arrival; constant gaps are multiplied rather than summed, so that rounding does not add up.
    index: u64,
    phase_seconds: f64,
    elapsed_seconds: f64,
}

impl Arrivals {
    /// Arrivals for lane `lane` of `lanes`, which together make `rate` requests per second.
    ///
    /// Constant lanes are shifted against each other, so that together their gaps are equal too; Poisson lanes have
    /// different seeds, and Poisson processes add up to one.
    #[must_use]
    pub fn new(rate: f64, distribution: Distribution, seed: u64, (lane, lanes): (u32, u32)) -> Self {
        Self {
            gap_seconds: f64::from(lanes) / rate,
            distribution,
            random: SmallRng::seed_from_u64(seed.wrapping_add(u64::from(lane).wrapping_mul(0x9e37_79b9))),
            index: 0,
            phase_seconds: f64::from(lane) / rate,
            elapsed_seconds: 0.0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53 requests, which no run reaches"
    )]
    fn next_seconds(&mut self) -> f64 {
        match self.distribution {
            Distribution::Constant => {
                let index = self.index;
                self.index += 1;
                self.phase_seconds + index as f64 * self.gap_seconds
            }
            Distribution::Poisson => {
                // 1 - u is in (0, 1], so the logarithm is finite.
                let uniform: f64 = self.random.random();
                self.elapsed_seconds += -(1.0 - uniform).ln() * self.gap_seconds;
                self.elapsed_seconds
            }
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.next_seconds()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_lanes_interleave_without_drift() {
        let lane = |lane| Arrivals::new(3.0, Distribution::Constant, 7, (lane, 2));
        let mut both: Vec<_> = lane(0).take(1500).chain(lane(1).take(1500)).collect();
        both.sort();
        for (index, arrival) in both.iter().enumerate() {
            let expected = index as f64 / 3.0;
            assert!((arrival.as_secs_f64() - expected).abs() < 1e-6, "{index}");
        }
    }

    #[test]
    fn poisson_has_the_rate_and_the_spread_of_its_name() {
        let arrivals: Vec<_> = Arrivals::new(1000.0, Distribution::Poisson, 1, (0, 1))
            .take(200_000)
            .map(|arrival| arrival.as_secs_f64())
            .collect();
        assert!(arrivals.is_sorted());
        let gaps: Vec<_> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 1000.0 - 1.0).abs() < 0.02, "mean gap {mean}");
        // An exponential distribution's deviation equals its mean.
        let ratio = variance.sqrt() / mean;
        assert!((ratio - 1.0).abs() < 0.02, "deviation over mean {ratio}");
    }

    #[test]
    fn the_seed_decides() {
        let times =
            |seed| Arrivals::new(10.0, Distribution::Poisson, seed, (0, 1)).take(5).collect::<Vec<_>>();
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }
}
