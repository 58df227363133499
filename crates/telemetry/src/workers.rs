use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::{DurationHistogram, MetricRegistry, ModelLabels};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeathLabels {
    model: Arc<str>,
    version: u64,
    cause: &'static str,
}

/// Metrics of worker processes, by model. See `docs/metrics.md` for the list. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct WorkerMetrics {
    running: Family<ModelLabels, Gauge>,
    starts: Family<ModelLabels, Counter>,
    deaths: Family<DeathLabels, Counter>,
    retried: Family<ModelLabels, Counter>,
    overhead: Family<ModelLabels, DurationHistogram>,
    /// Who has handles: two, while a model is loaded again beside what serves.
    users: Arc<Mutex<HashMap<ModelLabels, usize>>>,
}

impl WorkerMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        let Self { running, starts, deaths, retried, overhead, .. } = metrics.clone();
        registry.register("adulis_workers", "Worker processes that answer", running);
        registry.register("adulis_worker_starts", "Worker processes that were started", starts);
        registry.register("adulis_worker_deaths", "Worker processes that died, by how they did", deaths);
        let help = "Batches that were run again because their worker died";
        registry.register("adulis_worker_retried_batches", help, retried);
        let help = "Time that handing a batch to a worker and back took, beside what the worker did with it";
        registry.register("adulis_worker_overhead_seconds", help, overhead);
        metrics
    }

    /// The handles of one model version. Makes its series appear, until [`WorkerHandles::forget`] has been called as often.
    #[must_use]
    pub fn model(&self, labels: &ModelLabels) -> WorkerHandles {
        *self.users.lock().entry(labels.clone()).or_default() += 1;
        WorkerHandles {
            running: self.running.get_or_create_owned(labels),
            starts: self.starts.get_or_create_owned(labels),
            retried: self.retried.get_or_create_owned(labels),
            overhead: self.overhead.get_or_create_owned(labels),
            labels: labels.clone(),
            all: self.clone(),
        }
    }
}

/// Handles of one model version's metrics.
#[derive(Debug, Clone)]
pub struct WorkerHandles {
    running: Gauge,
    starts: Counter,
    retried: Counter,
    overhead: DurationHistogram,
    labels: ModelLabels,
    all: WorkerMetrics,
}

impl WorkerHandles {
    /// A worker answers from now on.
    pub fn started(&self) {
        self.starts.inc();
        self.running.inc();
    }

    /// A worker that had answered does not any more.
    pub fn stopped(&self) {
        self.running.dec();
    }

    /// A worker died.
    pub fn died(&self, cause: &'static str) {
        let ModelLabels { model, version } = self.labels.clone();
        self.all.deaths.get_or_create(&DeathLabels { model, version, cause }).inc();
    }

    /// A batch is run again.
    pub fn retried(&self) {
        self.retried.inc();
    }

    /// How long handing a batch over and back took.
    pub fn observe_overhead(&self, overhead: Duration) {
        self.overhead.observe(overhead);
    }

    /// Takes all series of the model version away, if nobody else has handles. `causes` are those that its workers may have died
    /// of.
    pub fn forget(&self, causes: impl IntoIterator<Item = &'static str>) {
        let mut users = self.all.users.lock();
        if let Some(others) = users.get_mut(&self.labels) {
            *others -= 1;
            if *others > 0 {
                return;
            }
        }
        users.remove(&self.labels);
        for cause in causes {
            let ModelLabels { model, version } = self.labels.clone();
            self.all.deaths.remove(&DeathLabels { model, version, cause });
        }
        self.all.running.remove(&self.labels);
        for counters in [&self.all.starts, &self.all.retried] {
            counters.remove(&self.labels);
        }
        self.all.overhead.remove(&self.labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn workers_are_counted_and_forgotten() {
        let registry = MetricRegistry::default();
        let metrics = WorkerMetrics::register(&registry);
        let labels = ModelLabels { model: "m".into(), version: 3 };
        let (handles, others) = (metrics.model(&labels), metrics.model(&labels));
        handles.started();
        handles.started();
        handles.stopped();
        handles.died("killed");
        handles.retried();
        handles.observe_overhead(Duration::from_micros(20));
        let text = registry.render(MetricsFormat::OpenMetrics);
        for line in [
            "adulis_workers{model=\"m\",version=\"3\"} 1",
            "adulis_worker_starts_total{model=\"m\",version=\"3\"} 2",
            "adulis_worker_deaths_total{model=\"m\",version=\"3\",cause=\"killed\"} 1",
            "adulis_worker_retried_batches_total{model=\"m\",version=\"3\"} 1",
            "adulis_worker_overhead_seconds_count{model=\"m\",version=\"3\"} 1",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in {text}");
        }
        others.forget(["killed"]);
        assert!(registry.render(MetricsFormat::OpenMetrics).contains("cause=\"killed\""));
        handles.forget(["killed"]);
        let text = registry.render(MetricsFormat::OpenMetrics);
        assert!(!text.contains("model=\"m\""), "{text}");
    }
}
