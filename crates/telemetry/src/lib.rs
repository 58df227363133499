//! What the server tells about itself: the metric registry and its types, structured logs, and traces of single requests.
//!
//! Metric names live in one file ([`ServingMetrics`], [`ProcessMetrics`]), not as literals in the code that counts. Handles for
//! one model are looked up once and then updated with plain atomic additions: no lock on the request path.

mod auth;
mod bodies;
mod cache;
mod cause;
mod connections;
mod histogram;
mod host;
mod logging;
mod memory;
mod models;
mod pools;
mod process;
mod quota;
mod registry;
mod serving;
mod storage;
mod store;
mod tls;
mod trace;
mod triton;
mod workers;

pub use auth::{AuditMetrics, AuthMetrics};
pub use bodies::BodyMetrics;
pub use cache::CacheMetrics;
pub use cause::{causes, panic_message};
pub use connections::{ConnectionMetrics, ListenerMetrics, OpenConnection};
pub use histogram::{DurationHistogram, RowsHistogram};
pub use host::HostMetrics;
pub use logging::{
    AUDIT_TARGET, Log, LogFormat, LogOptions, LoggingError, flush_log, init_logging, register_log,
};
pub use memory::usable_memory_bytes;
pub use models::{ModelReport, SequenceReport};
pub use pools::{PoolGauges, PoolHandles, PoolMetrics, PoolOperation};
pub use process::ProcessMetrics;
pub use quota::QuotaMetrics;
pub use registry::{MetricRegistry, MetricsFormat};
pub use serving::{
    ExecutionStop, ModelLabels, ModelMetrics, Outcome, QueuedRequest, ServingMetrics, ShedReason, Stage,
};
pub use storage::{StorageGauges, StorageMetrics, StorageOperation};
pub use store::{InferenceLogMetrics, StoreMetrics};
pub use tls::{HandshakeMetrics, TlsMetrics};
pub use trace::{TraceOptions, Tracer};
pub use triton::{FailureReason, TritonReport};
pub use workers::{WorkerHandles, WorkerMetrics};
