//! How many bytes of request bodies are held at once.

use adulis_telemetry::{BodyMetrics, MetricRegistry, usable_memory_bytes};
use adulis_types::BodyBudget;

/// The budget of all frontends, with its metrics: of so many bytes, or of half the memory that this process may use.
pub(crate) fn budget(limit_bytes: Option<usize>, registry: &MetricRegistry) -> BodyBudget {
    let half = || usable_memory_bytes().and_then(|bytes| usize::try_from(bytes / 2).ok());
    let budget = limit_bytes.or_else(half).map(BodyBudget::new).unwrap_or_default();
    BodyMetrics::register(registry, budget.clone());
    budget
}
