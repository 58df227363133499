//! The service that looks at requests and answers as they pass.

mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use adulis_types::{
    BoxFuture, DelegatingService, ErrorKind, Fault, Identity, IdentityKind, InferRequest, InferResponse,
    InferenceService, ModelRef, Name, RequestId, ResponseStream,
};

use self::stream::Watching;
use crate::queue::Queue;
use crate::record::{Budget, Captured, Record};
use crate::{LogPolicies, LogPolicy, Usage, UsageSums};

/// A service that counts what is used of another one, and puts a sample of its requests and answers into the inference log.
///
/// A request whose model is not logged costs one look-up, and one more where usage is counted; a logged one the clones of its
/// tensors, which share their bytes. Nobody waits for the database.
pub(crate) struct Recording {
    inner: Arc<dyn InferenceService>,
    usage: Option<Arc<Usage>>,
    log: Option<Log>,
}

/// Where sampled requests go.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) policies: Arc<LogPolicies>,
    pub(crate) queue: Queue,
}

/// A request that is under way.
struct Watched {
    at: SystemTime,
    begun: Instant,
    model: ModelRef,
    /// Who asked; `None` where nobody is asked who they are.
    identity: Option<Arc<Identity>>,
    /// The leading extent of its first input: its rows, if the model batches.
    leading: Option<usize>,
    sample: Option<Sample>,
}

/// What is known of a sampled request before it is answered.
struct Sample {
    request_id: RequestId,
    client_id: Name,
    inputs: Vec<Captured>,
    /// Bytes of tensors that may still be kept.
    budget_left: usize,
}

impl Recording {
    pub(crate) fn new(inner: Arc<dyn InferenceService>, usage: Option<Arc<Usage>>, log: Option<Log>) -> Self {
        Self { inner, usage, log }
    }

    /// What is to be noted of a request; `None` for nothing.
    fn watch(&self, request: &InferRequest) -> Option<Watched> {
        let policy = self.log.as_ref().map(|log| log.policies.of(&request.model.name));
        let sample = policy
            .filter(|policy| policy.samples(&request.request_id))
            .map(|policy| Sample::of(request, policy));
        if sample.is_none() && self.usage.is_none() {
            return None;
        }
        let leading = request.inputs.first().and_then(|input| input.tensor.shape().rows());
        Some(Watched {
            at: SystemTime::now(),
            begun: Instant::now(),
            model: request.model.clone(),
            identity: request.identity.clone(),
            leading,
            sample,
        })
    }

    /// Notes one of the answers.
    fn answered(&self, watched: &mut Watched, answer: u32, outcome: &Result<InferResponse, Fault>) {
        if let Some(usage) = &self.usage {
            self.count(usage, watched, answer, outcome);
        }
        if let (Some(log), Some(sample)) = (&self.log, &mut watched.sample) {
            let policy = log.policies.of(&watched.model.name);
            let mut record = Record {
                at: watched.at,
                request_id: sample.request_id.clone(),
                client_id: sample.client_id.clone(),
                answer,
                model: watched.model.name.clone(),
                version: watched.model.version,
                outcome: "ok",
                message: None,
                latency: watched.begun.elapsed(),
                compute: Duration::ZERO,
                inputs: std::mem::take(&mut sample.inputs),
                outputs: Vec::new(),
            };
            match outcome {
                Ok(response) => {
                    record.version = Some(response.model_version);
                    record.compute = response.timings.compute_infer;
                    record.outputs = Budget::rest(policy, sample.budget_left).outputs(response);
                }
                Err(fault) => {
                    record.outcome = fault.kind().as_str();
                    record.message = Some(fault.client_message());
                }
            }
            log.queue.offer(record);
        }
    }
}

impl Recording {
    /// Adds an answer to what is used. Answers after the first are of the same request.
    fn count(&self, usage: &Usage, watched: &Watched, answer: u32, outcome: &Result<InferResponse, Fault>) {
        let requests = u64::from(answer == 0);
        let sums = match outcome {
            Ok(response) => UsageSums {
                requests,
                failures: 0,
                rows: requests * self.rows(watched),
                compute: response.timings.compute_infer,
            },
            // Names that no model has are nobody's usage.
            Err(fault) if fault.kind() == ErrorKind::NotFound => return,
            Err(_) => UsageSums { requests, failures: 1, ..UsageSums::default() },
        };
        // Requests of which nobody knows who sent them are those of no key.
        let known = watched.identity.as_ref().filter(|identity| identity.kind != IdentityKind::Anonymous);
        let key = known.map_or("", |identity| &identity.name);
        if let Some(counter) = usage.counter(key, &watched.model.name) {
            counter.add(sums);
        }
    }
}

impl Recording {
    fn rows(&self, watched: &Watched) -> u64 {
        match watched.leading {
            Some(rows) if self.inner.batches(&watched.model) => rows as u64,
            _ => 1,
        }
    }
}

impl Sample {
    fn of(request: &InferRequest, policy: &LogPolicy) -> Self {
        let mut budget = Budget::new(policy);
        Self {
            request_id: request.request_id.clone(),
            client_id: request.id.clone(),
            inputs: budget.inputs(request),
            budget_left: budget.left(),
        }
    }
}

impl DelegatingService for Recording {
    fn inner(&self) -> &dyn InferenceService {
        &*self.inner
    }

    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        let Some(mut watched) = self.watch(&request) else {
            return self.inner.infer(request);
        };
        Box::pin(async move {
            let outcome = self.inner.infer(request).await;
            self.answered(&mut watched, 0, &outcome);
            outcome
        })
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        let watched = self.watch(&request);
        let answers = self.inner.infer_stream(request);
        match watched {
            Some(watched) => Box::pin(Watching::new(self, watched, answers)),
            None => answers,
        }
    }
}

#[cfg(test)]
mod tests;
