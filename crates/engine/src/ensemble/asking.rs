//! Requests to the models of an ensemble's steps.

use std::time::{Duration, Instant};

use adulis_types::{InferRequest, InferResponse, InputTensor, StageTimings, Trace, TraceMoment};
use tokio::sync::SemaphorePermit;

use super::Ensemble;
use crate::EngineError;
use crate::lifecycle::Lifecycle;
use crate::serving::ServingModel;

/// What every step's request has of the ensemble's.
pub(super) struct Call<'a> {
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) request: InferRequest,
    deadline: Option<Instant>,
}

/// What a step's request holds until it is answered.
pub(super) struct Asking<'e> {
    /// Its place among the step's requests that are under way.
    _permit: Option<SemaphorePermit<'e>>,
    /// How long it waited for that.
    waited: Duration,
    trace: Option<Trace>,
    asked: Instant,
}

impl Ensemble {
    /// Asks a step's model, once the step may have one more request under way.
    pub(super) async fn step(
        &self,
        step: usize,
        model: &ServingModel,
        inputs: Vec<InputTensor>,
        call: &Call<'_>,
    ) -> Result<(usize, InferResponse), EngineError> {
        let (request, asking) = self.asking(step, model, inputs, call).await?;
        let mut response = model.answer(call.lifecycle, request).await?;
        asking.answered(&mut response);
        Ok((step, response))
    }

    /// The request to a step's model, once the step may have one more under way.
    pub(super) async fn asking(
        &self,
        step: usize,
        model: &ServingModel,
        inputs: Vec<InputTensor>,
        call: &Call<'_>,
    ) -> Result<(InferRequest, Asking<'_>), EngineError> {
        let (_permit, waited) = self.permit(step, model, call).await?;
        let mut request = InferRequest::new(self.graph.steps[step].model.clone());
        request.id.clone_from(&call.request.id);
        request.request_id = call.request.request_id.clone();
        request.parameters.clone_from(&call.request.parameters);
        request.sequence.clone_from(&call.request.sequence);
        request.priority = call.request.priority;
        request.cache = call.request.cache;
        request.outputs.clone_from(&self.requested[step]);
        request.inputs = inputs;
        if let Some(deadline) = call.deadline {
            let left = deadline.checked_duration_since(request.arrived);
            request.timeout = Some(left.ok_or_else(|| call.late(model))?);
        }
        let trace = call.request.trace.as_ref().map(|trace| trace.child(&*model.served.interface.model));
        request.trace.clone_from(&trace);
        let asked = Instant::now();
        if let Some(trace) = &trace {
            trace.asked(&request, asked);
        }
        Ok((request, Asking { _permit, waited, trace, asked }))
    }

    /// A place among the step's requests that are under way, where their number is limited, and how long that took.
    async fn permit(
        &self,
        step: usize,
        model: &ServingModel,
        call: &Call<'_>,
    ) -> Result<(Option<SemaphorePermit<'_>>, Duration), EngineError> {
        let Some(permits) = self.permits.get(step) else {
            return Ok((None, Duration::ZERO));
        };
        let started = Instant::now();
        let permit = match call.deadline {
            None => permits.acquire().await,
            Some(at) => match tokio::time::timeout_at(at.into(), permits.acquire()).await {
                Ok(permit) => permit,
                Err(_) => return Err(call.late(model)),
            },
        };
        // It is never closed.
        Ok((permit.ok(), started.elapsed()))
    }
}

impl Asking<'_> {
    /// Notes an answer, and counts what the request waited for its place as waiting in a queue.
    pub(super) fn answered(&self, response: &mut InferResponse) {
        if let Some(trace) = &self.trace {
            trace.answered(response, self.asked);
        }
        response.timings.queue += self.waited;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(trace) = &self.trace {
            trace.note(TraceMoment::RequestEnd);
        }
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(lifecycle: &'a Lifecycle, request: InferRequest) -> Self {
        let deadline = request.timeout.and_then(|timeout| request.arrived.checked_add(timeout));
        Self { lifecycle, request, deadline }
    }

    /// Its time was over before this model could be asked.
    fn late(&self, model: &ServingModel) -> EngineError {
        let waited = self.request.arrived.elapsed().as_micros();
        EngineError::DeadlineExceeded {
            model: model.served.interface.model.clone(),
            waited_microseconds: u64::try_from(waited).unwrap_or(u64::MAX),
        }
    }
}

/// Adds a step's times to the ensemble's. Steps that ran at the same time are counted in full, each.
pub(super) fn add(sum: &mut StageTimings, step: &StageTimings) {
    sum.queue += step.queue;
    sum.batch += step.batch;
    sum.compute_input += step.compute_input;
    sum.compute_infer += step.compute_infer;
    sum.compute_output += step.compute_output;
}
