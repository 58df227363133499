use std::time::Duration;

use proptest::prelude::*;

use super::*;

const US: u64 = 1_000;

fn micros(micros: u64) -> Duration {
    Duration::from_nanos(micros * US)
}

#[test]
fn nothing_is_said_before_the_first_observation() {
    let model = CostModel::new();
    assert_eq!((model.estimate(1), model.recent_max(), model.spread()), (None, None, None));
}

#[test]
fn one_size_says_nothing_about_others() {
    let mut model = CostModel::new();
    for _ in 0..5 {
        model.observe(8, micros(400));
    }
    assert_eq!(model.estimate(1), Some(micros(400)));
    assert_eq!(model.estimate(64), Some(micros(400)));
}

#[test]
fn a_and_b_are_never_negative() {
    let mut falling = CostModel::new();
    let mut steep = CostModel::new();
    for (rows, falling_cost, steep_cost) in [(1, 300, 0), (2, 200, 0), (4, 100, 400)] {
        falling.observe(rows, micros(falling_cost));
        steep.observe(rows, micros(steep_cost));
    }
    assert_eq!(falling.line.slope, 0.0);
    assert_eq!(steep.line.base, 0.0);
    assert!(steep.estimate(0) == Some(Duration::ZERO) && steep.estimate(8) > steep.estimate(4));
}

/// a + b·n in nanoseconds.
fn exact(base: u64, slope: u64, rows: usize) -> Duration {
    Duration::from_nanos(base + slope * rows as u64)
}

fn close(one: Duration, other: Duration, within: f64) -> bool {
    let (one, other) = (one.as_secs_f64(), other.as_secs_f64());
    (one - other).abs() <= within * other + 2e-9
}

proptest! {
    #[test]
    fn an_exact_line_is_found(
        base in 0_u64..10_000_000,
        slope in 0_u64..1_000_000,
        sizes in prop::collection::vec(1_usize..256, 2..16),
        asked in 0_usize..1_000,
    ) {
        prop_assume!(sizes.iter().any(|rows| *rows != sizes[0]));
        let mut model = CostModel::new();
        for rows in &sizes {
            model.observe(*rows, exact(base, slope, *rows));
        }
        let estimate = model.estimate(asked).unwrap();
        prop_assert!(close(estimate, exact(base, slope, asked), 1e-6), "{:?}", estimate);
        prop_assert!(model.spread().unwrap() < Duration::from_nanos(100));
    }

    /// One in five observations may be anything: the estimate stays within what the noise of the others explains.
    #[test]
    fn wild_observations_do_not_move_the_estimate(
        base in 10_000_u64..1_000_000,
        slope in 100_u64..100_000,
        wild in prop::collection::vec(prop_oneof![Just(0_u64), 1_000_000_000..u64::MAX / 4], 50),
        noise in prop::collection::vec(-0.02..0.02_f64, 50),
    ) {
        let mut model = CostModel::new();
        for (index, wild) in wild.iter().enumerate() {
            let rows = [1, 2, 4, 8, 16, 32, 64][index % 7];
            let plain = exact(base, slope, rows).mul_f64(1.0 + noise[index]);
            let took = if index % 5 == 0 { Duration::from_nanos(*wild) } else { plain };
            model.observe(rows, took);
        }
        model.fit();
        for rows in [1, 8, 32, 64] {
            let (estimate, truth) = (model.estimate(rows).unwrap(), exact(base, slope, rows));
            // Noise is relative to the cost of the largest batch, where it is largest.
            let noise = exact(base, slope, 64).mul_f64(0.02);
            prop_assert!(estimate.abs_diff(truth) <= noise, "{rows}: {estimate:?} for {truth:?}");
        }
    }

    /// Of lines with non-negative base and slope, none near by fits better.
    #[test]
    fn the_fit_is_the_best_there_is(
        points in prop::collection::vec((0_u32..64, 0.0..1.0_f64), 1..50),
        (up, right) in (-0.01..0.01_f64, -0.01..0.01_f64),
    ) {
        let points: Vec<Point> =
            points.into_iter().map(|(rows, seconds)| Point { rows: f64::from(rows), seconds }).collect();
        let best = least_squares(&points);
        prop_assert!(best.base >= 0.0 && best.slope >= 0.0);
        let other = Line { base: (best.base + up).max(0.0), slope: (best.slope + right).max(0.0) };
        prop_assert!(best.squares(&points) <= other.squares(&points) + 1e-9);
    }

    /// Only the latest fifty count.
    #[test]
    fn a_lasting_change_is_followed(before in 1_u64..1_000, after in 1_u64..1_000) {
        let mut model = CostModel::new();
        for index in 0..100 {
            model.observe(1 + index % 8, micros(before));
        }
        for index in 0..56 {
            model.observe(1 + index % 8, micros(after));
        }
        prop_assert_eq!(model.observations(), 50);
        prop_assert!(close(model.estimate(4).unwrap(), micros(after), 1e-6));
        prop_assert!(close(model.recent_max().unwrap(), micros(after), 1e-6));
    }

    #[test]
    fn estimates_are_monotone_and_never_panic(
        observed in prop::collection::vec((any::<usize>(), any::<u64>(), 0_u32..1_000_000_000), 1..120),
        (one, other) in (any::<usize>(), any::<usize>()),
    ) {
        let mut model = CostModel::new();
        for (rows, seconds, nanos) in observed {
            model.observe(rows, Duration::new(seconds, nanos));
        }
        prop_assert!(model.estimate(one.min(other)) <= model.estimate(one.max(other)));
        prop_assert!(model.recent_max() >= Some(Duration::ZERO) && model.spread() >= Some(Duration::ZERO));
    }
}
