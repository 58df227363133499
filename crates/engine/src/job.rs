use std::time::Instant;

use adulis_telemetry::QueuedRequest;
use adulis_tensor::Tensor;
use adulis_types::{Parameters, RequestId, StageTimings};
use tokio::sync::oneshot;

use crate::EngineError;
use crate::decoupled::About;

/// Inputs of one request, each with its index in the signature, ascending.
pub(crate) type JobInputs = Vec<(usize, Tensor)>;

/// A request that waits for its turn.
#[derive(Debug)]
pub(crate) struct Job {
    /// Unique within its lane.
    pub(crate) id: u64,
    /// What the log calls it.
    pub(crate) request_id: RequestId,
    pub(crate) inputs: JobInputs,
    /// What else its model wants to know of it; nothing for most models.
    pub(crate) about: Option<Box<About>>,
    /// When it was queued.
    pub(crate) queued: Instant,
    pub(crate) reply: oneshot::Sender<Reply>,
    /// Held only to be dropped: the job is counted as waiting until it is bound to a run, cancelled or refused.
    pub(crate) _waiting: QueuedRequest,
}

/// What a job is answered with.
pub(crate) type Reply = Result<Answer, EngineError>;

/// All outputs of one request, in the signature's order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) outputs: Vec<Tensor>,
    /// Custom parameters.
    pub(crate) parameters: Parameters,
    pub(crate) timings: StageTimings,
}
