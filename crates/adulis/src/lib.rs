//! Adulis as a library: the whole server, or its parts inside an Axum application of yours.
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let adulis = adulis::Adulis::builder().models("examples/models").build()?;
//! let app = adulis.rest().merge(adulis.grpc());
//! # Ok(())
//! # }
//! ```
//!
//! [`Builder`] takes models, settings, backends of your own and a wrapper around the service; [`Adulis`] gives the REST
//! router, the gRPC routes and the metrics router, each to be mounted where you like. `examples/embed` does it.
//!
//! This crate is configuration and wiring only: nothing here decides how a request is served.

mod access;
mod app;
mod around;
mod bodies;
pub mod cert;
pub mod check;
pub mod cli;
pub mod config;
mod dependency;
mod handover;
pub mod keys;
pub mod log;
mod quotas;
mod redis_server;
mod reload;
mod repositories;
pub mod serve;
mod shared_cache;
pub mod sockets;
pub mod up;

pub use access::Access;
pub use adulis_backend as backend;
pub use adulis_engine::{ControlMode, Engine, Settings, StartModels};
pub use adulis_grpc::GrpcOptions;
pub use adulis_http::{HttpOptions, Listener, ListenerOptions};
pub use adulis_pool as pool;
pub use adulis_quota as quota;
pub use adulis_repository::Repositories;
pub use adulis_security as security;
#[cfg(feature = "object-storage")]
pub use adulis_storage::{AzureOptions, GcsOptions, S3Options, StorageOptions};
pub use adulis_store as store;
pub use adulis_telemetry::TraceOptions;
pub use adulis_tensor as tensor;
pub use adulis_tls as tls;
pub use adulis_types as types;
pub use adulis_worker::{HostError, Isolation, WorkerCommand, WorkerOptions};
pub use app::{Adulis, BuildError, Builder};
pub use handover::Supervisor;
pub use redis_server::RedisServer;
pub use reload::Reload;
pub use shared_cache::{MemcachedCache, SharedCache};
