use std::time::Duration;

use super::*;

const US: u64 = 1_000;

fn micros(micros: u64) -> Duration {
    Duration::from_nanos(micros * US)
}

#[test]
fn nothing_is_said_before_the_first_observation() {
    let model = CostModel::new();
    assert_eq!(
        (model.estimate(1), model.recent_max(), model.spread()),
        (None, None, None)
    );
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
