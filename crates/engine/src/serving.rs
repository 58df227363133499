use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use adulis_cache::{ModelCache, Scope};
use adulis_repository::{ModelConfig, VersionFingerprint};
use adulis_telemetry::{
    CacheMetrics, ExecutionStop, ModelLabels, ModelMetrics, SequenceReport, ServingMetrics, ShedReason,
    TritonReport,
};
use adulis_tensor::Tensor;
use adulis_types::{
    BoxFuture, ErrorKind, InferRequest, InferResponse, ModelStatistics, OutputTensor, Parameters,
    ServiceError, StageTimings,
};

use crate::EngineError;
use crate::admission::{Interface, Selected, Selection};
use crate::caching::Identity;
use crate::ensemble::{Ensemble, Unready};
use crate::executor::Executor;
use crate::instances::{Instances, microseconds};
use crate::job::{Answer, Job};
use crate::lane::Lane;
use crate::lifecycle::Lifecycle;
use crate::overrides::OverrideFolder;
use crate::statistics::{Answered, Statistics};
use crate::table::Models;

/// A model version that answers requests.
pub(crate) struct ServingModel {
    pub(crate) served: Arc<Served>,
    pub(crate) scheduler: Scheduler,
}

/// How a model's requests come to be answered.
pub(crate) enum Scheduler {
    /// By instances of its own.
    Instances(Arc<Instances>),
    /// By other models.
    Ensemble(Box<Ensemble>),
}

/// What every model version that answers has, however its requests are scheduled.
pub(crate) struct Served {
    pub(crate) version: u64,
    /// `None` for an ensemble.
    pub(crate) backend: Option<&'static str>,
    pub(crate) platform: Arc<str>,
    /// As it was read: what is in effect is put together when somebody asks.
    pub(crate) config: Box<ModelConfig>,
    pub(crate) interface: Interface,
    /// Whether the transaction policy allows any number of answers, whether the backend makes use of that or not. Not for an
    /// ensemble, for which its steps decide.
    pub(crate) decoupled: bool,
    /// Where answers are remembered, if they are. Not for an ensemble, for which its steps decide.
    pub(crate) cache: Option<Box<ModelCache>>,
    /// What it is to the answers of ensembles that it has a part in, where those could be remembered. Not for an ensemble.
    pub(crate) identity: Option<Box<Identity>>,
    pub(crate) serving: ServingMetrics,
    /// Made at the first request, so that models nobody asks have no series.
    pub(crate) metrics: OnceLock<ModelMetrics>,
    pub(crate) statistics: Statistics,
    /// How long loading and warm-up took.
    pub(crate) load_time: Duration,
    /// What its files looked like before they were read, where anybody will compare.
    pub(crate) fingerprint: Option<VersionFingerprint>,
    /// Its files, where they came with a request: held only to be dropped, after what reads them.
    pub(crate) files: Option<Arc<OverrideFolder>>,
}

impl ServingModel {
    /// Answers one request, and counts it.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        lifecycle: &Arc<Lifecycle>,
        request: InferRequest,
    ) -> Result<InferResponse, EngineError> {
        let mut counted = Counted::new(&*self.served, request.arrived);
        let result = match &self.scheduler {
            Scheduler::Instances(instances) => instances.answer(&lifecycle.executor, request).await,
            Scheduler::Ensemble(ensemble) => boxed(ensemble, self, lifecycle, request).await,
        };
        let result = result.map(|(took, response)| {
            counted.outcome = Ok((took, self.own(response.timings)));
            response
        });
        if let Err(error) = &result {
            counted.outcome = Err(error.kind());
        }
        result
    }

    /// The times that are counted as this model's. An ensemble has no queue: its steps wait in those of their models.
    fn own(&self, timings: StageTimings) -> StageTimings {
        match &self.scheduler {
            Scheduler::Instances(_) => timings,
            Scheduler::Ensemble(_) => {
                StageTimings { queue: Duration::ZERO, batch: Duration::ZERO, ..timings }
            }
        }
    }

    /// Takes out what waits, and lets nothing in any more; what is running goes on.
    pub(crate) fn close(&self) -> Vec<Job> {
        match &self.scheduler {
            Scheduler::Instances(instances) => instances.lane.close(),
            Scheduler::Ensemble(_) => Vec::new(),
        }
    }

    /// Has the executor forget the model if nobody but the caller holds it, or (`at_once`) in any case.
    ///
    /// The caller must have seen to it that nobody gets the model from elsewhere any more.
    pub(crate) fn retire(self: &Arc<Self>, executor: &Executor, at_once: bool) -> bool {
        // Every request holds a reference, and nobody can take another one.
        if Arc::strong_count(self) > 1 && !at_once {
            return false;
        }
        match &self.scheduler {
            Scheduler::Instances(instances) => executor.retire(instances, at_once),
            Scheduler::Ensemble(_) => true,
        }
    }

    /// Where the model really runs, for people.
    pub(crate) fn placement(&self) -> String {
        match &self.scheduler {
            Scheduler::Instances(instances) => instances.model.placement(),
            Scheduler::Ensemble(ensemble) => format!("ensemble of {} steps", ensemble.steps()),
        }
    }

    /// Whether requests may be put to it, given the models that there are: to what has instances, unless those are all stuck or
    /// have nothing to run on.
    pub(crate) fn usable(&self, models: &Models) -> Result<(), Unready> {
        match &self.scheduler {
            Scheduler::Instances(instances) => instances.usable(),
            Scheduler::Ensemble(ensemble) => ensemble.ready(&self.served, models),
        }
    }

    /// Whether it answers, as far as is known: what has instances does unless it was seen not to.
    pub(crate) fn ready(&self, models: &Models) -> Result<(), Unready> {
        match &self.scheduler {
            Scheduler::Instances(instances) => instances.healthy(),
            Scheduler::Ensemble(ensemble) => ensemble.ready(&self.served, models),
        }
    }

    /// The ensemble, if it is one.
    pub(crate) fn ensemble(&self) -> Option<&Ensemble> {
        match &self.scheduler {
            Scheduler::Instances(_) => None,
            Scheduler::Ensemble(ensemble) => Some(ensemble),
        }
    }

    /// What the response cache has counted of it, if it has one.
    pub(crate) fn cached(&self) -> Option<&Arc<Scope>> {
        match &self.scheduler {
            Scheduler::Instances(_) => self.served.cache.as_deref().map(ModelCache::scope),
            Scheduler::Ensemble(ensemble) => ensemble.cached(),
        }
    }

    /// What sequences there are, if the model's requests form sequences.
    pub(crate) fn sequences(&self) -> Option<SequenceReport> {
        match &self.scheduler {
            Scheduler::Instances(instances) => match &instances.lane {
                Lane::Sequences(lane) => Some(lane.report()),
                Lane::Batches(_) => None,
            },
            Scheduler::Ensemble(_) => None,
        }
    }

    /// Whether requests share batches.
    pub(crate) fn merges(&self) -> bool {
        match &self.scheduler {
            Scheduler::Instances(instances) => instances.merges,
            Scheduler::Ensemble(_) => false,
        }
    }
}

/// What an answer took of its model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Rows that the model was run for.
    pub(crate) rows: usize,
    /// Where it was looked up in the response cache: whether it was known there, and how long looking it up and remembering it
    /// took.
    pub(crate) cache: Option<(bool, Duration)>,
}

impl Took {
    /// A run of so many rows.
    pub(crate) fn run(rows: usize) -> Self {
        Self { rows, cache: None }
    }
}

/// An ensemble's answer as an object: one of its steps may be an ensemble in turn.
fn boxed<'a>(
    ensemble: &'a Ensemble,
    serving: &'a Arc<ServingModel>,
    lifecycle: &'a Arc<Lifecycle>,
    request: InferRequest,
) -> BoxFuture<'a, Result<(Took, InferResponse), EngineError>> {
    Box::pin(ensemble.answer(serving, lifecycle, request))
}

impl Served {
    pub(crate) fn labels(&self) -> ModelLabels {
        ModelLabels { model: self.interface.model.clone(), version: self.version }
    }

    pub(crate) fn metrics(&self) -> &ModelMetrics {
        self.metrics.get_or_init(|| self.serving.model(&self.labels()))
    }

    /// Counts a request that was refused, or taken out of the queue, so that others are answered.
    pub(crate) fn shed(&self, reason: ShedReason) {
        self.serving.shed(&self.labels(), reason);
    }

    /// Counts a run that took longer than it may.
    pub(crate) fn stopped(&self, how: ExecutionStop) {
        self.serving.stopped(&self.labels(), how);
    }

    /// Counts a trivial request that was put to the model to see whether it answers.
    pub(crate) fn self_checked(&self, ok: bool) {
        self.serving.self_checked(&self.labels(), ok);
    }

    /// Whether its files are not those of a repository.
    pub(crate) fn came_with_request(&self) -> bool {
        self.files.is_some()
    }

    /// What has been counted so far.
    pub(crate) fn read_statistics(&self) -> ModelStatistics {
        self.statistics.read(&self.interface.model, self.version)
    }

    /// The same as Triton's metrics tell it.
    pub(crate) fn triton_report(&self) -> TritonReport {
        TritonReport {
            statistics: self.read_statistics(),
            failures: self.statistics.failures(),
            pending: self.metrics.get().map_or(0, |metrics| metrics.queued.get()),
            load_time: self.load_time,
        }
    }

    /// The metrics of its look-ups in the response cache.
    pub(crate) fn cache_metrics(&self) -> &CacheMetrics {
        self.serving.cache()
    }

    /// The caller's time is over, who has waited since then.
    pub(crate) fn deadline_exceeded(&self, since: Instant) -> EngineError {
        let waited_microseconds = microseconds(since.elapsed());
        EngineError::DeadlineExceeded { model: self.interface.model.clone(), waited_microseconds }
    }

    /// The response with the outputs that were asked for.
    pub(crate) fn respond(
        &self,
        id: adulis_types::Name,
        answer: Answer,
        selection: &Selection,
    ) -> InferResponse {
        let named = |tensor, of| self.named(tensor, of);
        let tensors = answer.outputs;
        let outputs = match selection {
            Selection::All => {
                let all = (0..).map(|index| Selected { index, classes: 0 });
                tensors.into_iter().zip(all).map(|(tensor, of)| named(tensor, of)).collect()
            }
            Selection::These(wanted) if wanted.len() == tensors.len() && wanted.is_sorted() => {
                tensors.into_iter().zip(wanted).map(|(tensor, of)| named(tensor, *of)).collect()
            }
            Selection::These(wanted) => {
                wanted.iter().map(|of| named(tensors[of.index].clone(), *of)).collect()
            }
        };
        self.response(id, answer.parameters, (outputs, answer.timings))
    }

    fn named(&self, tensor: Tensor, Selected { index, classes }: Selected) -> OutputTensor {
        let tensor = self.interface.classified(index, tensor, classes);
        OutputTensor::new(self.interface.outputs[index].name.clone(), tensor)
    }

    pub(crate) fn response(
        &self,
        id: adulis_types::Name,
        parameters: Parameters,
        (outputs, timings): (Vec<OutputTensor>, StageTimings),
    ) -> InferResponse {
        InferResponse {
            model_name: self.interface.model.clone(),
            model_version: self.version,
            id,
            parameters,
            outputs,
            timings,
            cache: None,
            quota: None,
        }
    }
}

/// Counts a request when it ends, however it ends.
pub(crate) struct Counted<S: Deref<Target = Served>> {
    served: S,
    arrived: Instant,
    /// What a request that was answered took and where its time went, or how it ended.
    pub(crate) outcome: Result<(Took, StageTimings), ErrorKind>,
}

impl<S: Deref<Target = Served>> Counted<S> {
    /// A request that ends cancelled unless its outcome is set.
    pub(crate) fn new(served: S, arrived: Instant) -> Self {
        Self { served, arrived, outcome: Err(ErrorKind::Cancelled) }
    }
}

impl<S: Deref<Target = Served>> Drop for Counted<S> {
    fn drop(&mut self) {
        let Self { served, arrived, outcome } = self;
        let answered = Instant::now();
        let took = answered.saturating_duration_since(*arrived);
        let metrics = served.metrics();
        metrics.total.observe(took);
        match *outcome {
            Ok((Took { rows, cache }, timings)) => {
                metrics.ok.inc();
                let answered = Answered { arrived: *arrived, answered, rows, timings, cache };
                served.statistics.succeeded(&answered);
            }
            Err(kind) => {
                served.serving.outcome(&served.labels(), kind.as_str()).inc();
                served.statistics.failed(kind, took);
            }
        }
    }
}
