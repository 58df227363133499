//! What is told on the metrics port.

use serde::{Deserialize, Serialize};

/// What is told on the metrics port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Whether Triton's names (`nv_…`) are told beside our own.
    pub triton_names: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { triton_names: true }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMetrics {
    triton_names: Option<bool>,
}

impl MetricsConfig {
    pub(super) fn check(raw: &RawMetrics, default: Self) -> Self {
        Self { triton_names: raw.triton_names.unwrap_or(default.triton_names) }
    }

    pub(super) fn print(self) -> RawMetrics {
        RawMetrics { triton_names: Some(self.triton_names) }
    }
}
