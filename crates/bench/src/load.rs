use std::fmt;
use std::str::FromStr;

/// How load is offered to the server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Closed loop: this many requests are in flight at all times; the next is sent when one is answered.
    Concurrency(usize),
    /// Open loop: requests are sent at this many per second, whether or not earlier ones were answered.
    Rate(f64),
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::Concurrency(count) => write!(f, "{count}"),
            Load::Rate(rate) => write!(f, "{rate}/s"),
        }
    }
}

/// Most values that one sweep may have; more is a slip of the keyboard.
const SWEEP_LIMIT: usize = 1000;

/// Values to measure one after the other.
///
/// Written as a list, `1,8,64`, whose members may be ranges: `1:8` (step 1), `8:64:8` (step 8), `1:256:x2` (each twice
/// the last). Ranges include their end where a step falls on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep(Vec<f64>);

impl Sweep {
    /// The values in the order they were written.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }
}

/// Why a sweep cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// A part is no positive number.
    #[error("`{part}` is not a positive number")]
    Number {
        /// The part.
        part: String,
    },
    /// A range that never reaches its end.
    #[error(
        "the range `{range}` never reaches its end: expected START:END, START:END:STEP or START:END:xFACTOR with START ≤ END"
    )]
    Range {
        /// The range.
        range: String,
    },
    /// Too many values.
    #[error("more than {SWEEP_LIMIT} values")]
    TooMany,
}

impl FromStr for Sweep {
    type Err = SweepError;

    fn from_str(text: &str) -> Result<Self, SweepError> {
        let mut values = Vec::new();
        for part in text.split(',') {
            append_part(part.trim(), &mut values)?;
            if values.len() > SWEEP_LIMIT {
                return Err(SweepError::TooMany);
            }
        }
        Ok(Self(values))
    }
}

enum Step {
    Add(f64),
    Multiply(f64),
}

fn append_part(part: &str, values: &mut Vec<f64>) -> Result<(), SweepError> {
    let range = || SweepError::Range { range: part.to_owned() };
    let mut pieces = part.split(':');
    let start = positive(pieces.next().unwrap_or_default())?;
    let Some(end) = pieces.next() else {
        values.push(start);
        return Ok(());
    };
    let end = positive(end)?;
    let step = match pieces.next() {
        None => Step::Add(1.0),
        Some(step) => match step.strip_prefix('x') {
            Some(factor) => Step::Multiply(positive(factor)?),
            None => Step::Add(positive(step)?),
        },
    };
    let stands_still = matches!(step, Step::Multiply(factor) if factor <= 1.0);
    if pieces.next().is_some() || start > end || stands_still {
        return Err(range());
    }
    let mut value = start;
    while value <= end {
        values.push(value);
        if values.len() > SWEEP_LIMIT {
            return Err(SweepError::TooMany);
        }
        value = match step {
            Step::Add(step) => value + step,
            Step::Multiply(factor) => value * factor,
        };
    }
    Ok(())
}

fn positive(part: &str) -> Result<f64, SweepError> {
    part.trim()
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite() && *value > 0.0)
        .ok_or_else(|| SweepError::Number { part: part.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<f64> {
        text.parse::<Sweep>().unwrap().0
    }

    #[test]
    fn lists_and_ranges() {
        assert_eq!(values("1,8, 64"), [1.0, 8.0, 64.0]);
        assert_eq!(values("1:256:x2"), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]);
        assert_eq!(values("8:30:8"), [8.0, 16.0, 24.0]);
        assert_eq!(values("1:3,100.5"), [1.0, 2.0, 3.0, 100.5]);
    }

    #[test]
    fn what_never_ends_or_is_no_number_is_refused() {
        for text in ["", "0", "-1", "a", "1,,2", "nan", "inf", "1:x2"] {
            assert!(matches!(text.parse::<Sweep>(), Err(SweepError::Number { .. })), "{text}");
        }
        for text in ["8:1", "1:8:x1", "1:8:x0.5", "1:8:1:1"] {
            assert!(matches!(text.parse::<Sweep>(), Err(SweepError::Range { .. })), "{text}");
        }
        assert_eq!("1:1000000".parse::<Sweep>(), Err(SweepError::TooMany));
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_read_or_refused(text in "[0-9.,:x -]{0,30}") {
            if let Ok(sweep) = text.parse::<Sweep>() {
                proptest::prop_assert!(!sweep.0.is_empty() && sweep.0.len() <= SWEEP_LIMIT);
                proptest::prop_assert!(sweep.0.iter().all(|value| value.is_finite() && *value > 0.0));
            }
        }
    }
}
