//! One line of the report.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::goal::{Goal, Verdict};
use super::spread::Spread;

/// One figure, with what it should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    /// What was measured, for the first column.
    pub(super) what: String,
    /// `×` for a ratio, `µs`, `ms`, `s`, `MiB`, or nothing for a count.
    pub(super) unit: String,
    /// None for what is told beside the goals.
    pub(super) goal: Option<Goal>,
    pub(super) spread: Spread,
    /// None where there is no goal.
    pub(super) verdict: Option<Verdict>,
    /// What the figure is made of, such as the two sides of a ratio; may be empty.
    pub(super) remark: String,
}

impl Figure {
    /// A figure of these samples.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn new(what: impl Into<String>, unit: &str, samples: &[f64]) -> Result<Self> {
        let what = what.into();
        let spread = Spread::of(samples.iter().copied()).with_context(|| format!("no samples: {what}"))?;
        Ok(Self {
            what,
            unit: unit.to_owned(),
            goal: None,
            spread,
            verdict: None,
            remark: String::new(),
        })
    }

    /// Sets the goal and judges the figure by it.
    pub(super) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self.verdict = Some(goal.verdict(&self.spread));
        self
    }

    /// Says what the figure is made of.
    pub(super) fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = remark.into();
        self
    }
}

/// A number in three significant digits, as far as a reader has use for them.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        none if none < 0.0005 => "0".to_owned(),
        small if small < 0.9995 => format!("{value:.3}"),
        one if one < 9.995 => format!("{value:.2}"),
        ten if ten < 99.95 => format!("{value:.1}"),
        _ => thousands(value.round()),
    }
}

/// A whole number with a comma before each third digit.
fn thousands(value: f64) -> String {
    let plain = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_told() {
        for (value, text) in [
            (0.0, "0"),
            (0.8724, "0.872"),
            (0.99961, "1.00"),
            (3.456, "3.46"),
            (12.34, "12.3"),
            (99.96, "100"),
            (189.4, "189"),
            (61_234.5, "61,235"),
            (-1_234_567.0, "-1,234,567"),
            (-0.25, "-0.250"),
        ] {
            assert_eq!(digits(value), text, "{value}");
        }
    }

    #[test]
    fn a_figure_without_samples_is_an_error() {
        assert!(Figure::new("nothing", "ms", &[]).is_err());
        let figure = Figure::new("start", "ms", &[50.0, 60.0, 55.0]).unwrap();
        assert_eq!((figure.verdict, figure.goal), (None, None));
        assert_eq!(figure.goal(Goal::AtMost(150.0)).verdict, Some(Verdict::Met));
    }
}
