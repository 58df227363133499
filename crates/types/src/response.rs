use std::sync::Arc;
use std::time::Duration;

use adulis_tensor::Tensor;

use crate::{CacheOutcome, Name, Parameters, QuotaReport, RegionPlace};

/// The answer to one [`crate::InferRequest`].
#[derive(Debug, Clone)]
pub struct InferResponse {
    /// The model's name.
    pub model_name: Arc<str>,
    /// The version that answered.
    pub model_version: u64,
    /// The request's id, empty where it had none.
    pub id: Name,
    /// Response parameters.
    pub parameters: Parameters,
    /// Outputs: those requested in the order requested, or all in the model's order.
    pub outputs: Vec<OutputTensor>,
    /// Where the time went.
    pub timings: StageTimings,
    /// What the response cache had to do with it; `None` for a model that has none.
    pub cache: Option<CacheOutcome>,
    /// How the limits of whoever asked stand after it; `None` where there are none.
    pub quota: Option<Box<QuotaReport>>,
}

/// One output of a response.
#[derive(Debug, Clone)]
pub struct OutputTensor {
    /// The output's name.
    pub name: Arc<str>,
    /// Its data.
    pub tensor: Tensor,
    /// Where in shared memory the frontend has written it, and how many bytes: encoders say so and leave the data out.
    pub written: Option<Box<RegionPlace>>,
}

impl OutputTensor {
    /// An output as a service answers it.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, tensor: Tensor) -> Self {
        Self { name: name.into(), tensor, written: None }
    }
}

/// How long a request spent in each stage. The stages of a batch are told to each of its members in full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimings {
    /// From admission until its batch was bound.
    pub queue: Duration,
    /// From the batch being bound until an execution thread began with it.
    pub batch: Duration,
    /// Gathering inputs into the instance's buffers.
    pub compute_input: Duration,
    /// The engine's own run.
    pub compute_infer: Duration,
    /// Taking outputs over from the engine.
    pub compute_output: Duration,
}
