//! Requests to decoupled models: any number of answers each, on their way from the run to whoever asked.

mod answers;
mod run;

use std::pin::Pin;
use std::sync::Arc;

use adulis_backend::BatchRequest;
use adulis_tensor::Tensor;
use adulis_types::{InferRequest, InferResponse, Parameters, StageTimings};
use futures_core::Stream;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::lifecycle::Lifecycle;
use crate::serving::{Scheduler, ServingModel};
use crate::table::Models;
use crate::{EngineError, ensemble};
use answers::Answers;

/// Answers of one request that wait to be taken. A model that has more waits until there is room.
pub(crate) const MAX_WAITING_ANSWERS: usize = 16;

/// What a job has beyond its tensors, where its model wants to know.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) request: BatchRequest,
    /// Where the answers of a decoupled model go; what the job is replied to is its end.
    pub(crate) answers: Option<mpsc::Sender<Event>>,
}

/// What happens to a request of a decoupled model.
#[derive(Debug)]
pub(crate) enum Event {
    Answer {
        outputs: Vec<Tensor>,
        parameters: Parameters,
        timings: StageTimings,
        is_last: bool,
    },
    /// There is no further answer.
    End { outcome: Result<(), String>, timings: StageTimings },
}

/// Answers of one request, as they come. Its size hint is exactly zero once it is known that none follows.
pub(crate) type AnswerStream<'a> =
    Pin<Box<dyn Stream<Item = Result<InferResponse, EngineError>> + Send + 'a>>;

impl ServingModel {
    /// Whether a request may be answered any number of times: where the transaction policy says so, and for an ensemble where
    /// one of its steps may.
    pub(crate) fn is_decoupled(&self, models: &Models) -> bool {
        match &self.scheduler {
            Scheduler::Instances(_) => self.served.decoupled,
            Scheduler::Ensemble(ensemble) => ensemble.is_decoupled(&self.served, models),
        }
    }

    /// Answers one request, as often as the model does, and counts it. Dropping the stream cancels what is left.
    pub(crate) fn answers<'a>(
        self: &Arc<Self>,
        lifecycle: &'a Arc<Lifecycle>,
        request: InferRequest,
    ) -> AnswerStream<'a> {
        let serving = Arc::clone(self);
        match &self.scheduler {
            Scheduler::Instances(instances) if instances.model.is_decoupled() => {
                Box::pin(Answers::new(serving, Arc::clone(instances), &lifecycle.executor, request))
            }
            Scheduler::Instances(_) => {
                Box::pin(stream::once(async move { serving.answer(lifecycle, request).await }))
            }
            Scheduler::Ensemble(_) => Box::pin(ensemble::Answers::new(serving, lifecycle, request)),
        }
    }
}
