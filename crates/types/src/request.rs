use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_tensor::Tensor;

use crate::{
    CacheDirective, Identity, Name, Parameters, RegionPlace, RequestId, Sequence, SharedInput, Trace,
};

/// A model as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// The model's name.
    pub name: Name,
    /// The version; `None` asks for the one that the version policy serves by default (the highest).
    pub version: Option<u64>,
}

impl ModelRef {
    /// The default version of `name`.
    pub fn latest(name: impl Into<Name>) -> Self {
        Self { name: name.into(), version: None }
    }
}

/// One inference request, decoded. Its tensors are valid in themselves; whether they fit the model is the
/// engine's to say.
#[derive(Debug, Clone)]
pub struct InferRequest {
    /// The model.
    pub model: ModelRef,
    /// The client's id for the request, sent back; empty where it gave none.
    pub id: Name,
    /// What the request is called in the log.
    pub request_id: RequestId,
    /// Who sends it; `None` where nobody is asked who they are. A service that asks other models in turn asks in the same name.
    pub identity: Option<Arc<Identity>>,
    /// Parameters that neither the codec nor the fields below took.
    pub parameters: Parameters,
    /// Inputs, in the order they came.
    pub inputs: Vec<InputTensor>,
    /// Inputs that are in shared memory still, by index. Frontends read them into `inputs` before they ask a service, which
    /// finds none here.
    pub shared_inputs: Vec<SharedInput>,
    /// Outputs that are wanted; empty means all.
    pub outputs: Vec<RequestedOutput>,
    /// Priority level, 1 highest; 0 means the model's default (`priority` parameter).
    pub priority: u64,
    /// The highest level that it may have, whatever it names, and where it names none; 0: any. Whoever judges quotas sets it, no
    /// client.
    pub highest_priority: u32,
    /// Where the request stands in a sequence; `None` where it is of none.
    pub sequence: Option<Sequence>,
    /// Whether the client of a stream wants to be told of the end by an empty response, where the last answer could not be told
    /// as such (`triton_enable_empty_final_response` parameter). To a service it says nothing.
    pub empty_final_response: bool,
    /// Whether it may be answered from the response cache (`cache_control` parameter, `Cache-Control` header).
    pub cache: CacheDirective,
    /// How long the client waits, counted from `arrived`: the least of the `timeout` parameter, `grpc-timeout` and
    /// the timeout header.
    pub timeout: Option<Duration>,
    /// When the request was received.
    pub arrived: Instant,
    /// Its trace, where it was chosen for one. A service that asks other models in turn gives each request a child of it.
    pub trace: Option<Trace>,
}

impl InferRequest {
    /// A request for `model` that arrives now, with nothing in it yet.
    #[must_use]
    pub fn new(model: ModelRef) -> Self {
        Self {
            model,
            id: Name::default(),
            request_id: RequestId::next(),
            identity: None,
            parameters: Parameters::default(),
            inputs: Vec::new(),
            shared_inputs: Vec::new(),
            outputs: Vec::new(),
            priority: 0,
            highest_priority: 0,
            sequence: None,
            empty_final_response: false,
            cache: CacheDirective::default(),
            timeout: None,
            arrived: Instant::now(),
            trace: None,
        }
    }

    /// Lowers the timeout to `timeout` if that is sooner.
    pub fn limit_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(self.timeout.map_or(timeout, |earlier| earlier.min(timeout)));
    }
}

/// One input of a request.
#[derive(Debug, Clone)]
pub struct InputTensor {
    /// The input's name.
    pub name: Name,
    /// Its data.
    pub tensor: Tensor,
}

/// One output that a request wants.
#[derive(Debug, Clone)]
pub struct RequestedOutput {
    /// The output's name.
    pub name: Name,
    /// The k highest values as classes (`classification` parameter) instead of the tensor; 0 asks for the tensor.
    pub classification: usize,
    /// Where in shared memory it is wanted. Frontends write it there; to a service it says nothing.
    pub place: Option<Box<RegionPlace>>,
    /// Parameters that the codec did not take.
    pub parameters: Parameters,
}

impl RequestedOutput {
    /// The output `name`, as the model gives it.
    #[must_use]
    pub fn new(name: impl Into<Name>) -> Self {
        Self {
            name: name.into(),
            classification: 0,
            place: None,
            parameters: Parameters::default(),
        }
    }
}
