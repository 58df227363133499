use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use adulis_backend::Model;
use adulis_batcher::{BatchPolicy, Offer, RefusedReason, ShapeClass};
use adulis_repository::{ModelConfig, VersionFingerprint};
use adulis_telemetry::{ModelLabels, ModelMetrics, Outcome, ServingMetrics};
use adulis_types::{InferRequest, InferResponse, OutputTensor, RequestId, ServiceError, StageTimings};
use tokio::sync::oneshot;

use crate::EngineError;
use crate::admission::{Admitted, Interface, Selection, shape_class};
use crate::executor::Executor;
use crate::job::{Answer, Job, JobInputs, Reply};
use crate::lane::{Lane, NotQueued, Place};
use crate::overrides::OverrideFolder;
use crate::plan::queue_timeout;
use crate::statistics::{Answered, Statistics};

/// A model version that answers requests.
pub(crate) struct ServingModel {
    /// Key in the executor.
    pub(crate) key: usize,
    pub(crate) version: u64,
    pub(crate) backend: &'static str,
    pub(crate) platform: Arc<str>,
    /// As it was read: what is in effect is put together when somebody asks.
    pub(crate) config: Box<ModelConfig>,
    pub(crate) interface: Interface,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) lane: Lane,
    /// Share of execution time among models that are ready at once.
    pub(crate) weight: u32,
    /// Whether requests share batches.
    pub(crate) merges: bool,
    pub(crate) policy: BatchPolicy,
    pub(crate) serving: ServingMetrics,
    /// Made at the first request, so that models nobody asks have no series.
    pub(crate) metrics: OnceLock<ModelMetrics>,
    pub(crate) statistics: Statistics,
    /// How long loading and warm-up took.
    pub(crate) load_time: Duration,
    /// What its files looked like before they were read, where anybody will compare.
    pub(crate) fingerprint: Option<VersionFingerprint>,
    /// Its files, where they came with a request: held only to be dropped, after what reads them.
    pub(crate) _files: Option<Arc<OverrideFolder>>,
}

impl ServingModel {
    pub(crate) fn labels(&self) -> ModelLabels {
        ModelLabels { model: self.interface.model.clone(), version: self.version }
    }

    pub(crate) fn metrics(&self) -> &ModelMetrics {
        self.metrics.get_or_init(|| self.serving.model(&self.labels()))
    }

    /// Answers one request, and counts it.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        executor: &Executor,
        request: InferRequest,
    ) -> Result<InferResponse, EngineError> {
        let mut counted = Counted { serving: self, arrived: request.arrived, outcome: Err("cancelled") };
        let result = self.admit_and_run(executor, request).await;
        let result = result.map(|(rows, response)| {
            counted.outcome = Ok((rows, response.timings));
            response
        });
        if let Err(error) = &result {
            counted.outcome = Err(error.kind().as_str());
        }
        result
    }

    /// The answer, and the rows that it took.
    async fn admit_and_run(
        self: &Arc<Self>,
        executor: &Executor,
        request: InferRequest,
    ) -> Result<(usize, InferResponse), EngineError> {
        let InferRequest { id, request_id, inputs, outputs, priority, timeout, arrived, .. } = request;
        let Admitted { inputs, rows, outputs } = self.interface.admit(inputs, &outputs)?;
        let answer = match self.lane.take_inline(rows, arrived) {
            Some(slot) => {
                let (reply, again) = self.run_inline(inputs, rows, slot);
                if again {
                    executor.schedule(self);
                }
                reply?
            }
            None => {
                let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
                self.run_queued(executor, Entry { request_id, inputs, rows, priority, deadline }).await?
            }
        };
        Ok((rows, self.respond(id, answer, &outputs)))
    }

    async fn run_queued(self: &Arc<Self>, executor: &Executor, entry: Entry) -> Reply {
        let Entry { request_id, inputs, rows, priority, deadline } = entry;
        let class = if self.merges { shape_class(&inputs) } else { ShapeClass::default() };
        let (reply, caller) = oneshot::channel();
        let queued = Instant::now();
        let _waiting = self.metrics().wait_in_queue();
        let job = Job { id: self.lane.next_id(), request_id, inputs, queued, reply, _waiting };
        let offer = Offer { rows, class, priority, timeout: None, deadline, payload: job };
        let (place, schedule) = self.lane.push(offer, queued).map_err(|reason| self.refusal(&reason))?;
        let waiting = Waiting { lane: &self.lane, place, armed: true };
        if schedule {
            executor.schedule(self);
        }
        let queue_timeout =
            queue_timeout(&self.policy, priority).and_then(|timeout| queued.checked_add(timeout));
        self.wait(caller, waiting, Limits { queued, queue_timeout, deadline }).await
    }

    /// Waits for the reply, no longer than the limits allow.
    async fn wait(
        &self,
        mut caller: oneshot::Receiver<Reply>,
        mut waiting: Waiting<'_>,
        limits: Limits,
    ) -> Reply {
        if let Some(at) =
            limits.queue_timeout.filter(|at| limits.deadline.is_none_or(|deadline| *at < deadline))
        {
            if let Ok(reply) = tokio::time::timeout_at(at.into(), &mut caller).await {
                return waiting.done(reply.unwrap_or(Err(EngineError::Closing)));
            }
            if waiting.lane.cancel(waiting.place) {
                return waiting.done(Err(self.queue_timeout(limits.queued)));
            }
        }
        let reply = match limits.deadline {
            None => caller.await,
            Some(at) => match tokio::time::timeout_at(at.into(), caller).await {
                Ok(reply) => reply,
                // Dropping `waiting` takes the job out.
                Err(_) => {
                    let (model, waited) = (self.interface.model.clone(), limits.queued.elapsed());
                    return Err(EngineError::DeadlineExceeded {
                        model,
                        waited_microseconds: microseconds(waited),
                    });
                }
            },
        };
        waiting.done(reply.unwrap_or(Err(EngineError::Closing)))
    }

    pub(crate) fn queue_timeout(&self, queued: Instant) -> EngineError {
        let waited_microseconds = microseconds(queued.elapsed());
        EngineError::QueueTimeout { model: self.interface.model.clone(), waited_microseconds }
    }

    fn refusal(&self, reason: &NotQueued) -> EngineError {
        let model = self.interface.model.clone();
        match *reason {
            NotQueued::Closed => EngineError::Unloaded { model: (&*model).into() },
            NotQueued::Refused(RefusedReason::QueueFull { limit, what }) => {
                let retry_after = self.lane.backlog().unwrap_or(Duration::from_secs(1));
                EngineError::QueueFull { model, limit, what, retry_after }
            }
            NotQueued::Refused(RefusedReason::TooManyRows { rows, max }) => {
                EngineError::TooManyRows { model, rows, max }
            }
        }
    }

    fn respond(&self, id: adulis_types::Name, answer: Answer, selection: &Selection) -> InferResponse {
        let named = |(index, tensor): (usize, _)| {
            OutputTensor::new(self.interface.outputs[index].name.clone(), tensor)
        };
        let mut tensors = answer.outputs;
        let outputs = match selection {
            Selection::All => tensors.into_iter().enumerate().map(named).collect(),
            Selection::These(indices) if indices.len() == tensors.len() && indices.is_sorted() => {
                tensors.drain(..).enumerate().map(named).collect()
            }
            Selection::These(indices) => {
                indices.iter().map(|&index| named((index, tensors[index].clone()))).collect()
            }
        };
        InferResponse {
            model_name: self.interface.model.clone(),
            model_version: self.version,
            id,
            parameters: adulis_types::Parameters::default(),
            outputs,
            timings: answer.timings,
        }
    }
}

/// An admitted request on its way into the queue.
struct Entry {
    request_id: RequestId,
    inputs: JobInputs,
    rows: usize,
    priority: u64,
    deadline: Option<Instant>,
}

/// Until when a request may wait.
struct Limits {
    queued: Instant,
    queue_timeout: Option<Instant>,
    deadline: Option<Instant>,
}

/// A caller that waits for its job. Dropped before the reply came, it cancels the job.
struct Waiting<'a> {
    lane: &'a Lane,
    place: Place,
    armed: bool,
}

impl Waiting<'_> {
    fn done(&mut self, reply: Reply) -> Reply {
        self.armed = false;
        reply
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.lane.cancel(self.place);
        }
    }
}

/// Counts a request when it ends, however it ends.
struct Counted<'a> {
    serving: &'a ServingModel,
    arrived: Instant,
    /// The rows of a request that was answered and where its time went, or how it ended.
    outcome: Result<(usize, StageTimings), Outcome>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Self { serving, arrived, outcome } = self;
        let answered = Instant::now();
        let took = answered.saturating_duration_since(*arrived);
        let metrics = serving.metrics();
        metrics.total.observe(took);
        match *outcome {
            Ok((rows, timings)) => {
                metrics.ok.inc();
                let answered = Answered { arrived: *arrived, answered, rows, timings };
                serving.statistics.succeeded(&answered);
            }
            Err(outcome) => {
                serving.serving.outcome(&serving.labels(), outcome).inc();
                serving.statistics.failed(took);
            }
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
