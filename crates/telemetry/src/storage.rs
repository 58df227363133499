//! What is told of repositories in object storage.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::{DurationHistogram, MetricRegistry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepositoryLabels {
    repository: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    repository: Arc<str>,
    operation: &'static str,
}

/// What has become of a repository's operations, and what its breaker is like, at the moment of a scrape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StorageGauges {
    /// Requests that were sent again.
    pub retries: u64,
    /// Operations that were not tried because the breaker was open.
    pub refused: u64,
    /// Times that the breaker opened.
    pub openings: u64,
    /// Whether the breaker lets operations pass: 0 closed, 1 half-open, 2 open.
    pub breaker: u8,
}

type Observed = (Arc<str>, Box<dyn Fn() -> StorageGauges + Send + Sync>);

/// Metrics of repositories in object storage. See `docs/metrics.md` for the list. Clones share them.
#[derive(Clone, Default)]
pub struct StorageMetrics {
    operations: Family<OperationLabels, DurationHistogram>,
    errors: Family<OperationLabels, Counter>,
    observed: Arc<Mutex<Vec<Observed>>>,
}

impl fmt::Debug for StorageMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageMetrics").finish_non_exhaustive()
    }
}

impl StorageMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        let Self { operations, errors, observed } = metrics.clone();
        let help = "Time that an operation on object storage took, with all that was tried again";
        registry.register("adulis_storage_operation_seconds", help, operations);
        registry.register("adulis_storage_errors", "Operations on object storage that failed", errors);
        registry.register_collector(Box::new(Gauges(observed)));
        metrics
    }

    /// The handles of one repository's operations of one name. Makes their series appear.
    #[must_use]
    pub fn operation(&self, repository: &str, operation: &'static str) -> StorageOperation {
        let labels = OperationLabels { repository: repository.into(), operation };
        StorageOperation {
            latency: self.operations.get_or_create_owned(&labels),
            errors: self.errors.get_or_create_owned(&labels),
        }
    }

    /// Has a repository told. `observe` is asked at each scrape, as long as the process lives: let it hold the repository weakly.
    pub fn observe(&self, repository: &str, observe: impl Fn() -> StorageGauges + Send + Sync + 'static) {
        self.observed.lock().push((repository.into(), Box::new(observe)));
    }
}

/// Handles of the metrics of one repository's operations of one name.
#[derive(Debug, Clone)]
pub struct StorageOperation {
    /// How long they took, those that failed included.
    pub latency: DurationHistogram,
    /// Those that failed.
    pub errors: Counter,
}

/// What is asked for at each scrape.
struct Gauges(Arc<Mutex<Vec<Observed>>>);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let observed = self.0.lock();
        let repositories: Vec<(RepositoryLabels, StorageGauges)> = observed
            .iter()
            .map(|(repository, observe)| (RepositoryLabels { repository: Arc::clone(repository) }, observe()))
            .collect();
        drop(observed);
        let mut counter = |name: &str, help: &str, read: fn(&StorageGauges) -> u64| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, gauges) in &repositories {
                metric
                    .encode_family(labels)?
                    .encode_counter::<NoLabelSet, u64, u64>(&read(gauges), None)?;
            }
            Ok::<(), fmt::Error>(())
        };
        counter("adulis_storage_retries", "Requests that were sent again", |told| told.retries)?;
        let help = "Operations that were not tried because the breaker was open";
        counter("adulis_storage_refused", help, |told| told.refused)?;
        counter("adulis_storage_breaker_openings", "Times that the breaker opened", |told| told.openings)?;
        let help = "State of the breaker: 0 closed, 1 half-open, 2 open";
        let name = "adulis_storage_breaker_state";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, gauges) in &repositories {
            metric.encode_family(labels)?.encode_gauge(&i64::from(gauges.breaker))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn a_repository_has_its_series() {
        let registry = MetricRegistry::default();
        let metrics = StorageMetrics::register(&registry);
        let list = metrics.operation("s3://bucket/a", "list");
        list.latency.observe(Duration::from_millis(1));
        list.errors.inc();
        metrics.observe("s3://bucket/a", || StorageGauges {
            retries: 3,
            refused: 4,
            openings: 1,
            breaker: 2,
        });
        metrics.observe("s3://bucket/b", StorageGauges::default);
        let text = registry.render(MetricsFormat::OpenMetrics);
        for line in [
            "adulis_storage_operation_seconds_count{repository=\"s3://bucket/a\",operation=\"list\"} 1",
            "adulis_storage_errors_total{repository=\"s3://bucket/a\",operation=\"list\"} 1",
            "adulis_storage_retries_total{repository=\"s3://bucket/a\"} 3",
            "adulis_storage_refused_total{repository=\"s3://bucket/a\"} 4",
            "adulis_storage_breaker_openings_total{repository=\"s3://bucket/a\"} 1",
            "adulis_storage_breaker_state{repository=\"s3://bucket/a\"} 2",
            "adulis_storage_retries_total{repository=\"s3://bucket/b\"} 0",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in {text}");
        }
    }
}
