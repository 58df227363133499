use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::{CacheMetrics, DurationHistogram, MetricRegistry, RowsHistogram};

/// A stage of a request's life, as the label `stage` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waiting in the model's queue.
    Queue,
    /// Bound to a batch, waiting for the run to begin.
    Batch,
    /// Gathering inputs.
    ComputeInput,
    /// The engine's run.
    ComputeInfer,
    /// Taking outputs over.
    ComputeOutput,
    /// From the request's arrival to its answer, encoding excluded.
    Total,
}

impl Stage {
    const ALL: [Stage; 6] = [
        Stage::Queue,
        Stage::Batch,
        Stage::ComputeInput,
        Stage::ComputeInfer,
        Stage::ComputeOutput,
        Stage::Total,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Batch => "batch",
            Stage::ComputeInput => "compute_input",
            Stage::ComputeInfer => "compute_infer",
            Stage::ComputeOutput => "compute_output",
            Stage::Total => "total",
        }
    }
}

impl EncodeLabelValue for Stage {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// Why a request was given up so that others are answered, as the label `reason` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShedReason {
    /// The queue was full.
    QueueFull,
    /// It would have been answered after its deadline.
    Deadline,
    /// It would have waited longer than requests may.
    QueueTime,
    /// One of higher priority needed its place in the queue.
    Displaced,
    /// It had waited until its deadline could not be met any more.
    Late,
}

impl ShedReason {
    const ALL: [ShedReason; 5] = [
        ShedReason::QueueFull,
        ShedReason::Deadline,
        ShedReason::QueueTime,
        ShedReason::Displaced,
        ShedReason::Late,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            ShedReason::QueueFull => "queue_full",
            ShedReason::Deadline => "deadline",
            ShedReason::QueueTime => "queue_time",
            ShedReason::Displaced => "displaced",
            ShedReason::Late => "late",
        }
    }
}

impl EncodeLabelValue for ShedReason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// What became of a run that took longer than it may, as the label `outcome` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionStop {
    /// It was asked to stop.
    Interrupted,
    /// It did not stop, and the worker process that it was in was killed.
    Killed,
    /// It did not stop: its callers were answered, and its thread and instance replaced.
    WrittenOff,
}

impl ExecutionStop {
    const ALL: [ExecutionStop; 3] = [
        ExecutionStop::Interrupted,
        ExecutionStop::Killed,
        ExecutionStop::WrittenOff,
    ];

    const fn as_str(self) -> Outcome {
        match self {
            ExecutionStop::Interrupted => "interrupted",
            ExecutionStop::Killed => "killed",
            ExecutionStop::WrittenOff => "written_off",
        }
    }
}

/// How a request ended: `ok`, or the name of its error kind.
pub type Outcome = &'static str;

/// Labels of one model version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelLabels {
    /// The model.
    pub model: Arc<str>,
    /// Its version.
    pub version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    model: Arc<str>,
    version: u64,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    model: Arc<str>,
    version: u64,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShedLabels {
    model: Arc<str>,
    version: u64,
    reason: ShedReason,
}

/// Of what is counted before or without a model: how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OnlyOutcome {
    outcome: Outcome,
}

/// Metrics of inference, by model. See `docs/metrics.md` for the list.
#[derive(Debug, Clone, Default)]
pub struct ServingMetrics {
    requests: Family<OutcomeLabels, Counter>,
    refused: Family<OnlyOutcome, Counter>,
    shed: Family<ShedLabels, Counter>,
    rows: Family<ModelLabels, Counter>,
    executions: Family<ModelLabels, Counter>,
    batch_rows: Family<ModelLabels, RowsHistogram>,
    stages: Family<StageLabels, DurationHistogram>,
    queued: Family<ModelLabels, Gauge>,
    executing: Family<ModelLabels, Gauge>,
    loads: Family<OnlyOutcome, Counter>,
    unloads: Counter,
    instance_rebuilds: Family<ModelLabels, Counter>,
    non_finite_outputs: Family<ModelLabels, Counter>,
    stops: Family<OutcomeLabels, Counter>,
    self_checks: Family<OutcomeLabels, Counter>,
    in_flight: Gauge,
    execution_threads: Gauge,
    execution_threads_busy: Gauge,
    execution_threads_stuck: Gauge,
    cache: CacheMetrics,
}

impl ServingMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        metrics.register_requests(registry);
        metrics.register_models(registry);
        metrics.register_threads(registry);
        metrics.cache.register(registry);
        metrics
    }

    fn register_requests(&self, registry: &MetricRegistry) {
        let Self { requests, refused, shed, rows, stages, queued, in_flight, .. } = self.clone();
        registry.register("adulis_inference_requests", "Requests by model and outcome", requests);
        registry.register("adulis_inference_refused", "Requests refused before a model was found", refused);
        registry.register(
            "adulis_requests_shed",
            "Requests given up so that others are answered, by reason",
            shed,
        );
        registry.register("adulis_inference_rows", "Rows executed for requests", rows);
        registry.register("adulis_inference_stage_duration_seconds", "Time per stage of a request", stages);
        registry.register("adulis_queue_requests", "Requests waiting in a model's queue", queued);
        registry.register(
            "adulis_requests_in_flight",
            "Inference requests admitted and not answered",
            in_flight,
        );
    }

    fn register_models(&self, registry: &MetricRegistry) {
        let Self { executions, batch_rows, executing, .. } = self.clone();
        let Self { loads, unloads, instance_rebuilds, non_finite_outputs, .. } = self.clone();
        registry.register("adulis_executions", "Runs of a model instance", executions);
        registry.register("adulis_batch_rows", "Rows per run", batch_rows);
        registry.register("adulis_executing_batches", "Batches being executed", executing);
        registry.register("adulis_model_loads", "Loads of a model version, by how they ended", loads);
        registry.register(
            "adulis_model_unloads",
            "Model versions unloaded, their memory given back",
            unloads,
        );
        registry.register(
            "adulis_instance_rebuilds",
            "Instances replaced after a panic or fault",
            instance_rebuilds,
        );
        let Self { stops, self_checks, .. } = self.clone();
        registry.register(
            "adulis_execution_limit_exceeded",
            "Runs that took longer than they may, by what became of them",
            stops,
        );
        registry.register(
            "adulis_self_checks",
            "Trivial requests that the server put to a model, by how they ended",
            self_checks,
        );
        registry.register(
            "adulis_non_finite_outputs",
            "Answers refused because of a NaN or an infinity in them",
            non_finite_outputs,
        );
    }

    fn register_threads(&self, registry: &MetricRegistry) {
        let Self { execution_threads, execution_threads_busy: busy, .. } = self.clone();
        registry.register("adulis_execution_threads", "Execution threads", execution_threads);
        registry.register(
            "adulis_execution_threads_busy",
            "Execution threads that are running a batch",
            busy,
        );
        registry.register(
            "adulis_execution_threads_stuck",
            "Threads that are stuck in runs that were written off, each with another in its place",
            self.execution_threads_stuck.clone(),
        );
    }

    /// The handles of one model version. Makes its series appear.
    #[must_use]
    pub fn model(&self, labels: &ModelLabels) -> ModelMetrics {
        let stage = |stage| {
            let ModelLabels { model, version } = labels.clone();
            self.stages.get_or_create_owned(&StageLabels { model, version, stage })
        };
        ModelMetrics {
            ok: self.outcome(labels, "ok"),
            rows: self.rows.get_or_create_owned(labels),
            executions: self.executions.get_or_create_owned(labels),
            batch_rows: self.batch_rows.get_or_create_owned(labels),
            queue: stage(Stage::Queue),
            batch: stage(Stage::Batch),
            compute_input: stage(Stage::ComputeInput),
            compute_infer: stage(Stage::ComputeInfer),
            compute_output: stage(Stage::ComputeOutput),
            total: stage(Stage::Total),
            queued: self.queued.get_or_create_owned(labels),
            executing: self.executing.get_or_create_owned(labels),
            instance_rebuilds: self.instance_rebuilds.get_or_create_owned(labels),
            non_finite_outputs: self.non_finite_outputs.get_or_create_owned(labels),
        }
    }

    /// The counter of requests to a model version that ended with `outcome`.
    #[must_use]
    pub fn outcome(&self, labels: &ModelLabels, outcome: Outcome) -> Counter {
        let ModelLabels { model, version } = labels.clone();
        self.requests.get_or_create_owned(&OutcomeLabels { model, version, outcome })
    }

    /// Counts a request that was refused before its model was known.
    pub fn refused(&self, outcome: Outcome) {
        self.refused.get_or_create(&OnlyOutcome { outcome }).inc();
    }

    /// Counts a request that was given up so that others are answered. Its outcome is counted as any other's.
    pub fn shed(&self, labels: &ModelLabels, reason: ShedReason) {
        let ModelLabels { model, version } = labels.clone();
        self.shed.get_or_create(&ShedLabels { model, version, reason }).inc();
    }

    /// Counts a run that took longer than it may.
    pub fn stopped(&self, labels: &ModelLabels, how: ExecutionStop) {
        let ModelLabels { model, version } = labels.clone();
        self.stops.get_or_create(&OutcomeLabels { model, version, outcome: how.as_str() }).inc();
    }

    /// Counts a trivial request that the server put to a model.
    pub fn self_checked(&self, labels: &ModelLabels, ok: bool) {
        let ModelLabels { model, version } = labels.clone();
        let outcome = if ok { "ok" } else { "failed" };
        self.self_checks.get_or_create(&OutcomeLabels { model, version, outcome }).inc();
    }

    /// Counts a load of a model version.
    pub fn model_loaded(&self, ok: bool) {
        let outcome = if ok { "ok" } else { "failed" };
        self.loads.get_or_create(&OnlyOutcome { outcome }).inc();
    }

    /// Counts a model version as unloaded.
    pub fn model_unloaded(&self) {
        self.unloads.inc();
    }

    /// Takes all series of a model version away. `outcomes` are those that its requests may have had beside `ok`.
    pub fn forget(&self, labels: &ModelLabels, outcomes: impl IntoIterator<Item = Outcome>) {
        let ModelLabels { model, version } = labels.clone();
        for outcome in outcomes.into_iter().chain(["ok"]) {
            self.requests.remove(&OutcomeLabels { model: Arc::clone(&model), version, outcome });
        }
        for stop in ExecutionStop::ALL {
            let outcome = stop.as_str();
            self.stops.remove(&OutcomeLabels { model: Arc::clone(&model), version, outcome });
        }
        for outcome in ["ok", "failed"] {
            self.self_checks.remove(&OutcomeLabels { model: Arc::clone(&model), version, outcome });
        }
        for reason in ShedReason::ALL {
            self.shed.remove(&ShedLabels { model: Arc::clone(&model), version, reason });
        }
        for stage in Stage::ALL {
            self.stages.remove(&StageLabels { model: Arc::clone(&model), version, stage });
        }
        for counters in [
            &self.rows,
            &self.executions,
            &self.instance_rebuilds,
            &self.non_finite_outputs,
        ] {
            counters.remove(labels);
        }
        for gauges in [&self.queued, &self.executing] {
            gauges.remove(labels);
        }
        self.batch_rows.remove(labels);
    }

    /// Times of look-ups in the response cache.
    #[must_use]
    pub fn cache(&self) -> &CacheMetrics {
        &self.cache
    }

    /// Requests admitted and not answered.
    #[must_use]
    pub fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }

    /// Execution threads that exist.
    #[must_use]
    pub fn execution_threads(&self) -> &Gauge {
        &self.execution_threads
    }

    /// Threads that are stuck in runs that were written off.
    #[must_use]
    pub fn execution_threads_stuck(&self) -> &Gauge {
        &self.execution_threads_stuck
    }

    /// Execution threads that run a batch.
    #[must_use]
    pub fn execution_threads_busy(&self) -> &Gauge {
        &self.execution_threads_busy
    }
}

/// Handles of one model version's metrics; updating them takes no lock.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "each field is the metric of its name, see ServingMetrics::register"
)]
pub struct ModelMetrics {
    pub ok: Counter,
    pub rows: Counter,
    pub executions: Counter,
    pub batch_rows: RowsHistogram,
    pub queue: DurationHistogram,
    pub batch: DurationHistogram,
    pub compute_input: DurationHistogram,
    pub compute_infer: DurationHistogram,
    pub compute_output: DurationHistogram,
    pub total: DurationHistogram,
    pub queued: Gauge,
    pub executing: Gauge,
    pub instance_rebuilds: Counter,
    pub non_finite_outputs: Counter,
}

impl ModelMetrics {
    /// Counts a request as waiting in the queue until the answer is dropped.
    #[must_use]
    pub fn wait_in_queue(&self) -> QueuedRequest {
        self.queued.inc();
        QueuedRequest(self.queued.clone())
    }
}

/// A request that waits in a model's queue, as `adulis_queue_requests` counts it.
#[derive(Debug)]
pub struct QueuedRequest(Gauge);

impl Drop for QueuedRequest {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn a_forgotten_model_leaves_no_series() {
        let registry = MetricRegistry::default();
        let metrics = ServingMetrics::register(&registry);
        let labels = |model: &str| ModelLabels { model: model.into(), version: 1 };
        for name in ["stays", "goes"] {
            let labels = labels(name);
            let model = metrics.model(&labels);
            model.total.observe(std::time::Duration::from_millis(1));
            metrics.outcome(&labels, "overloaded").inc();
            metrics.shed(&labels, ShedReason::Displaced);
            metrics.stopped(&labels, ExecutionStop::WrittenOff);
            metrics.self_checked(&labels, false);
        }
        let series = |name: &str| {
            let label = format!("model=\"{name}\"");
            registry
                .render(MetricsFormat::OpenMetrics)
                .lines()
                .filter(|line| line.contains(&label))
                .count()
        };
        assert_eq!(series("goes"), series("stays"));
        metrics.forget(&labels("goes"), ["overloaded"]);
        assert_eq!(series("goes"), 0, "{}", registry.render(MetricsFormat::OpenMetrics));
        assert!(series("stays") > 10);
    }
}
