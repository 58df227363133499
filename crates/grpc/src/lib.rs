//! gRPC frontend: the Open Inference Protocol's `inference.GRPCInferenceService` over any
//! [`InferenceService`](adulis_types::InferenceService).
//!
//! [`service`] is the tonic service, [`routes`] the same, with gRPC's own health checking and reflection beside it, as routes
//! that turn into an Axum router and so share a listener, or a port, with REST. Handlers are thin: `adulis-protocol` decodes and
//! encodes, the service answers. Invariants:
//!
//! - messages, requests in progress per stream and waits are bounded by [`GrpcOptions`];
//! - every error becomes a status in one place (`boundary`), by the table that REST uses too, and is logged there once;
//! - who sends a call is found out by its head, before its message is read; a handler reaches the services by `Shared::enter`
//!   only, which asks whether they may;
//! - a client that cancels drops the handler's future, which cancels the request.
//!
//! All RPCs of Triton's service are in `rpcs`.

mod admit;
mod boundary;
mod error;
mod frontend;
mod health;
mod infer;
mod models;
mod options;
mod paced;
#[doc(hidden)]
pub mod received;
mod regions;
mod repository;
mod rpcs;
mod server;
mod settings;
mod standard;
mod statistics;
mod stream;
mod timeout;
mod traced;
mod trailers;

pub use frontend::{Frontend, routes, service};
pub use options::GrpcOptions;
pub use server::InferenceServer;
