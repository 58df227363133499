//! Tables of numbers beside the figures: a course over time, or what each size of something does.

use serde::{Deserialize, Serialize};

use super::figure::Figure;

/// A table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Series {
    /// What it shows, for the line above it.
    pub(super) what: String,
    /// Names of the columns, with their units.
    pub(super) columns: Vec<String>,
    /// As many numbers each as there are columns.
    pub(super) rows: Vec<Vec<f64>>,
}

/// What a measurement comes to.
pub(super) struct Measured {
    pub(super) figures: Vec<Figure>,
    pub(super) series: Vec<Series>,
}

impl From<Vec<Figure>> for Measured {
    fn from(figures: Vec<Figure>) -> Self {
        Self { figures, series: Vec::new() }
    }
}
