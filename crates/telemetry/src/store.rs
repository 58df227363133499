//! What the store and the inference log tell.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::{DurationHistogram, MetricRegistry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// Metrics of the store. See `docs/metrics.md` for the list.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// 1 while the last thing that was asked of the database worked.
    pub up: Gauge,
    errors: Family<OperationLabels, Counter>,
}

impl StoreMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self { up: Gauge::default(), errors: Family::default() };
        let help = "1 while the store's database answers";
        registry.register("adulis_store_up", help, metrics.up.clone());
        let help = "What was asked of the store's database and failed, by what it was";
        registry.register("adulis_store_errors", help, metrics.errors.clone());
        metrics
    }

    /// Failures of one kind of work.
    #[must_use]
    pub fn errors(&self, operation: &'static str) -> Counter {
        self.errors.get_or_create_owned(&OperationLabels { operation })
    }
}

/// Metrics of the inference log. See `docs/metrics.md` for the list.
#[derive(Debug, Clone)]
pub struct InferenceLogMetrics {
    /// Records that are in the database.
    pub written: Counter,
    /// Records that wait to be written.
    pub queued: Gauge,
    /// Bytes of tensors that these hold.
    pub queued_bytes: Gauge,
    /// How long a batch took to be written, the times that it failed included.
    pub flush: DurationHistogram,
    /// Records that were deleted by retention.
    pub expired: Counter,
    dropped: Family<ReasonLabels, Counter>,
}

impl InferenceLogMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self {
            written: Counter::default(),
            queued: Gauge::default(),
            queued_bytes: Gauge::default(),
            flush: DurationHistogram::default(),
            expired: Counter::default(),
            dropped: Family::default(),
        };
        let Self { written, queued, queued_bytes, flush, expired, dropped } = metrics.clone();
        let help = "Records of the inference log that are in the database";
        registry.register("adulis_inference_log_written", help, written);
        let help = "Records of the inference log that were dropped, by why";
        registry.register("adulis_inference_log_dropped", help, dropped);
        let help = "Records of the inference log that wait to be written";
        registry.register("adulis_inference_log_queue_records", help, queued);
        let help = "Bytes of tensors that these records hold";
        registry.register("adulis_inference_log_queue_bytes", help, queued_bytes);
        let help = "Time that writing a batch of records took";
        registry.register("adulis_inference_log_flush_seconds", help, flush);
        let help = "Records of the inference log that retention deleted";
        registry.register("adulis_inference_log_expired", help, expired);
        metrics
    }

    /// Records that were dropped for one reason.
    #[must_use]
    pub fn dropped(&self, reason: &'static str) -> Counter {
        self.dropped.get_or_create_owned(&ReasonLabels { reason })
    }
}
