//! Requests to decoupled models: any number of answers each, on their way from the run to whoever asked.

mod answers;
mod run;

use adulis_backend::BatchRequest;
use adulis_tensor::Tensor;
use adulis_types::{Parameters, StageTimings};
use tokio::sync::mpsc;

pub(crate) use answers::Answers;

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
