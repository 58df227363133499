//! What travels between the frontends and the engine: requests, responses, metadata, errors, the
//! [`InferenceService`] trait that joins the two sides, [`DelegatingService`] for what stands between them, and the
//! [`Services`] that frontends are handed. No I/O, no codec, no scheduling.

mod cache;
mod control;
mod delegating;
mod dependency;
mod error;
mod metadata;
mod parameters;
mod request;
mod request_id;
mod response;
mod sequence;
mod service;
mod services;
mod settings;
mod shared_memory;
mod statistics;
mod trace;

pub use cache::{
    CacheControl, CacheDirective, CacheOutcome, CacheReport, CacheStatus, CachedModel, SharedTierReport,
};
pub use compact_str::CompactString as Name;
pub use control::{IndexEntry, IndexQuery, LoadModel, ModelConfigDocument, ModelState, UnloadModel};
pub use delegating::DelegatingService;
pub use dependency::Dependency;
pub use error::{ErrorKind, Failure, Fault, Retry, ServiceError};
pub use metadata::{ModelMetadata, ServerMetadata, TensorMetadata};
pub use parameters::{ParameterValue, Parameters};
pub use request::{InferRequest, InputTensor, ModelRef, RequestedOutput};
pub use request_id::RequestId;
pub use response::{InferResponse, OutputTensor, StageTimings};
pub use sequence::{Sequence, SequenceId};
pub use service::{BoxFuture, InferenceService, ResponseStream, one_response};
pub use services::Services;
pub use settings::{
    Change, LogControl, LogLineFormat, LogSettings, LogUpdate, TraceControl, TraceLevels, TraceMode,
    TraceSettings, TraceUpdate,
};
pub use shared_memory::{RegionPlace, RegionSlice, RegionSpec, SharedInput, SharedMemory};
pub use statistics::{
    BatchStatistics, DurationStatistic, InferenceStatistics, ModelStatistics, ResponseStatistics,
};
pub use trace::{Trace, TraceMoment, TraceSink, TraceSpan, TracedTensor};
