//! What many samples of one figure say together.

use serde::{Deserialize, Serialize};

/// Median of samples, how sure it is, and their range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    /// The middle sample, or the mean of the two in the middle.
    pub(super) median: f64,
    /// Between these two the true median lies with 95 % confidence, whatever the samples' distribution; the whole range
    /// where there are fewer than six samples.
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) samples: usize,
}

impl Spread {
    /// Of all samples that are numbers; `None` if there is none.
    ///
    /// Source of the interval: order statistics of the binomial distribution (W. J. Conover, "Practical Nonparametric
    /// Statistics", confidence interval for a quantile).
    pub(super) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.into_iter().filter(|sample| sample.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let count = sorted.len();
        let left_out = left_out(count);
        let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        let (low, high) = (sorted[left_out], sorted[count - 1 - left_out]);
        Some(Self { median, low, high, min, max, samples: count })
    }
}

/// From how many samples on the binomial distribution is taken as the normal one.
const NORMAL_FROM: usize = 200;

/// How many samples at each end lie outside of the interval: the largest number of heads in so many throws of a coin
/// that this many or fewer come up with a probability of 2.5 % at most.
fn left_out(count: usize) -> usize {
    let n = count as f64;
    if count >= NORMAL_FROM {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and half of the count"
        )]
        return ((n - 1.96 * n.sqrt()) / 2.0) as usize - 1;
    }
    let mut probability = 0.5_f64.powf(n);
    let mut cumulated = probability;
    let mut heads = 0_usize;
    loop {
        let next = heads + 1;
        probability *= (n - heads as f64) / next as f64;
        cumulated += probability;
        if cumulated > 0.025 {
            return heads;
        }
        heads = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_range() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max, odd.samples), (2.0, 1.0, 3.0, 3));
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(even.median, 2.5);
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn few_samples_are_no_surer_than_their_range() {
        let five = Spread::of([1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!((five.low, five.high), (1.0, 5.0));
    }

    #[test]
    fn the_interval_is_the_one_in_the_tables() {
        // Ranks of the 95 % interval of a median, as statistical tables print them, counted from 1.
        for (count, low) in [
            (6, 1),
            (8, 1),
            (9, 2),
            (12, 3),
            (15, 4),
            (20, 6),
            (25, 8),
            (50, 18),
            (100, 40),
        ] {
            let spread = Spread::of((1..=count).map(f64::from)).unwrap();
            assert_eq!(spread.low, f64::from(low), "{count}");
            assert_eq!(spread.high, f64::from(count + 1 - low), "{count}");
        }
    }

    #[test]
    fn many_samples_go_on_where_few_left_off() {
        let exact = left_out(NORMAL_FROM - 1);
        let normal = left_out(NORMAL_FROM);
        assert!(normal.abs_diff(exact) <= 1, "{exact} {normal}");
    }
}
