//! What a figure should be, and whether it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spread::Spread;

/// What a figure should be, in its own unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    AtLeast(f64),
    MoreThan(f64),
    AtMost(f64),
}

/// Whether a goal is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// The whole interval of the median is on the good side.
    Met,
    /// The median is on the good side, the interval reaches to the other.
    MetWithinNoise,
    /// The median is on the bad side, the interval reaches to the other: it may be noise.
    MissedWithinNoise,
    /// The whole interval is on the bad side.
    Missed,
}

impl Goal {
    /// Judges the median by how sure it is.
    pub(super) fn verdict(self, spread: &Spread) -> Verdict {
        let ends = [spread.low, spread.high].map(|end| self.holds(end));
        match (ends, self.holds(spread.median)) {
            ([true, true], _) => Verdict::Met,
            ([false, false], _) => Verdict::Missed,
            (_, true) => Verdict::MetWithinNoise,
            (_, false) => Verdict::MissedWithinNoise,
        }
    }

    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::MoreThan(bound) => value > bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::MoreThan(bound) => write!(f, "> {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::MetWithinNoise => "met, within noise",
            Self::MissedWithinNoise => "missed, within noise",
            Self::Missed => "**missed**",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(goal: Goal, low: f64, median: f64, high: f64) -> Verdict {
        goal.verdict(&Spread { median, low, high, min: 0.0, max: 99.0, samples: 9 })
    }

    #[test]
    fn the_interval_of_the_median_decides_and_not_the_range() {
        let goal = Goal::AtLeast(0.85);
        assert_eq!(verdict(goal, 0.85, 0.9, 0.95), Verdict::Met);
        assert_eq!(verdict(goal, 0.8, 0.9, 0.95), Verdict::MetWithinNoise);
        assert_eq!(verdict(goal, 0.7, 0.8, 0.9), Verdict::MissedWithinNoise);
        assert_eq!(verdict(goal, 0.7, 0.8, 0.84), Verdict::Missed);
    }

    #[test]
    fn an_upper_bound_looks_the_other_way() {
        let goal = Goal::AtMost(30.0);
        assert_eq!(verdict(goal, 5.0, 20.0, 30.0), Verdict::Met);
        assert_eq!(verdict(goal, 5.0, 20.0, 31.0), Verdict::MetWithinNoise);
        assert_eq!(verdict(goal, 29.0, 31.0, 32.0), Verdict::MissedWithinNoise);
        assert_eq!(verdict(goal, 31.0, 32.0, 33.0), Verdict::Missed);
    }

    #[test]
    fn more_is_more_than_as_much() {
        assert_eq!(verdict(Goal::MoreThan(1.0), 1.0, 1.0, 1.0), Verdict::Missed);
        assert_eq!(verdict(Goal::AtLeast(1.0), 1.0, 1.0, 1.0), Verdict::Met);
    }

    #[test]
    fn goals_read_as_people_write_them() {
        let texts =
            [Goal::AtLeast(0.85), Goal::MoreThan(1.0), Goal::AtMost(3.5)].map(|goal| goal.to_string());
        assert_eq!(texts, ["≥ 0.85", "> 1", "≤ 3.5"]);
    }
}
