//! Requests to the models of an ensemble's steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_types::{InferRequest, InferResponse, InputTensor, StageTimings, Trace, TraceMoment};
use tokio::sync::SemaphorePermit;

use super::Ensemble;
use crate::EngineError;
use crate::cached::Asking;
use crate::lifecycle::Lifecycle;
use crate::serving::ServingModel;

/// What every step's request has of the ensemble's.
pub(super) struct Call<'a> {
    pub(super) lifecycle: &'a Arc<Lifecycle>,
    pub(super) asking: &'a Asking,
}

/// What a step's request holds until it is answered.
pub(super) struct Asked<'e> {
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
        model: &Arc<ServingModel>,
        inputs: Vec<InputTensor>,
        call: &Call<'_>,
    ) -> Result<(usize, InferResponse), EngineError> {
        let (request, asked) = self.asking(step, model, inputs, call).await?;
        let mut response = model.answer(call.lifecycle, request).await?;
        asked.answered(&mut response);
        Ok((step, response))
    }

    /// The request to a step's model, once the step may have one more under way.
    pub(super) async fn asking(
        &self,
        step: usize,
        model: &ServingModel,
        inputs: Vec<InputTensor>,
        call: &Call<'_>,
    ) -> Result<(InferRequest, Asked<'_>), EngineError> {
        let (_permit, waited) = self.permit(step, model, call).await?;
        let asking = call.asking;
        let mut request = InferRequest::new(self.graph.steps[step].model.clone());
        request.id.clone_from(&asking.id);
        request.request_id = asking.request_id.clone();
        request.identity.clone_from(&asking.identity);
        request.parameters.clone_from(&asking.parameters);
        request.sequence.clone_from(&asking.sequence);
        request.priority = asking.priority;
        request.highest_priority = asking.highest_priority;
        request.cache = asking.directive;
        request.outputs.clone_from(&self.requested[step]);
        request.inputs = inputs;
        if let Some(deadline) = asking.deadline {
            let left = deadline.checked_duration_since(request.arrived);
            request.timeout = Some(left.ok_or_else(|| call.late(model))?);
        }
        let trace = asking.trace.as_ref().map(|trace| trace.child(&*model.served.interface.model));
        request.trace.clone_from(&trace);
        let asked = Instant::now();
        if let Some(trace) = &trace {
            trace.asked(&request, asked);
        }
        Ok((request, Asked { _permit, waited, trace, asked }))
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
        let permit = match call.asking.deadline {
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

impl Asked<'_> {
    /// Notes an answer, and counts what the request waited for its place as waiting in a queue.
    pub(super) fn answered(&self, response: &mut InferResponse) {
        if let Some(trace) = &self.trace {
            trace.answered(response, self.asked);
        }
        response.timings.queue += self.waited;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(trace) = &self.trace {
            trace.note(TraceMoment::RequestEnd);
        }
    }
}

impl Call<'_> {
    /// Its time was over before this model could be asked.
    fn late(&self, model: &ServingModel) -> EngineError {
        model.served.deadline_exceeded(self.asking.arrived)
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
