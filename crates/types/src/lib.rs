//! What travels between the frontends and the engine: requests, responses, metadata, errors, the
//! [`InferenceService`] trait that joins the two sides, [`DelegatingService`] for what stands between them, and the
//! [`Services`] that frontends are handed. Who may use which of them is decided at one place, [`Guarded`], by the one table of
//! [`Operation`]s. No I/O, no codec, no scheduling.

mod access;
mod access_error;
mod audit;
mod body_budget;
mod cache;
mod client_certificate;
mod control;
mod delegating;
mod dependency;
mod entered;
mod error;
mod guarded;
mod identity;
mod metadata;
mod model_patterns;
mod operation;
mod parameters;
mod quota;
mod request;
mod request_id;
mod response;
mod scope;
mod sequence;
mod service;
mod services;
mod settings;
mod shared_memory;
mod statistics;
mod trace;

pub use access::{AccessControl, Header, Identification, Presented, RequestHeaders, Wire};
pub use access_error::{AccessError, Who};
pub use audit::{Actor, AuditEvent, AuditLog, AuditOutcome};
pub use body_budget::{BodyBudget, BudgetSpent, HeldBody};
pub use cache::{
    CacheControl, CacheDirective, CacheOutcome, CacheReport, CacheStatus, CachedModel, SharedTierReport,
};
pub use client_certificate::{CertificateName, ClientCertificate};
pub use compact_str::CompactString as Name;
pub use control::{IndexEntry, IndexQuery, LoadModel, ModelConfigDocument, ModelState, UnloadModel};
pub use delegating::DelegatingService;
pub use dependency::Dependency;
pub use entered::{Asked, Entered};
pub use error::{ErrorKind, Failure, Fault, Retry, ServiceError};
pub use guarded::{Admission, Guarded, Pass};
pub use identity::{Identity, IdentityKind, Proof};
pub use metadata::{ModelMetadata, ServerMetadata, TensorMetadata};
pub use model_patterns::ModelPatterns;
pub use operation::Operation;
pub use parameters::{ParameterValue, Parameters};
pub use quota::{QuotaPolicy, QuotaReport, QuotaStanding, QuotaTerm};
pub use request::{InferRequest, InputTensor, ModelRef, RequestedOutput};
pub use request_id::RequestId;
pub use response::{InferResponse, OutputTensor, StageTimings};
pub use scope::{Scope, Scopes};
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
