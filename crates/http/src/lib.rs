//! REST frontend and HTTP listeners.
//!
//! [`router`] is the Open Inference Protocol's REST side as a plain [`axum::Router`] over any
//! [`InferenceService`](adulis_types::InferenceService); it can be nested under a prefix of, or merged into, a larger
//! application. [`v1_router`] is the V1 protocol of KServe and TensorFlow Serving likewise; [`sagemaker_router`] and
//! [`vertex_router`] are what these platforms ask of a container. [`Listener`] is the one accept loop of the server: REST, gRPC,
//! metrics and the shared port all go through it, so that limits, timeouts and draining are the same everywhere.
//!
//! Handlers are thin: they read the body, have `adulis-protocol` decode it, call the service, and write what the codec
//! returns. Invariants:
//!
//! - every body and wait is bounded by [`HttpOptions`] or [`ListenerOptions`];
//! - a body is copied at most once, and its binary tensors then begin on a 64-byte boundary;
//! - every status but 200 carries `{"error": "…"}`, made and logged in one place (`boundary`);
//! - a client that goes away drops the handler's future, which cancels the request;
//! - a handler reaches the services by `Rest::enter` only, which asks who sends the request and whether they may.
//!
//! There is no scheduling here, and who is who is decided elsewhere. TLS is `adulis-tls`'s: a listener only lets it do its
//! handshakes.

mod beside;
mod body;
mod boundary;
mod cache;
mod chunks;
mod coding;
mod cors;
mod deadline;
mod error;
mod exchange;
mod form;
mod generate;
mod hosted;
mod infer;
mod listener;
mod metrics;
mod models;
mod openapi;
mod options;
mod pulse;
#[doc(hidden)]
pub mod received;
mod regions;
mod repository;
mod rest;
mod router;
mod routes;
mod sagemaker;
mod server;
mod settings;
mod statistics;
mod timeouts;
mod v1;
mod vertex;

pub use adulis_protocol::{HeaderPattern, HeaderPatternError, Pace};
pub use axum::Router;
pub use cors::{CorsOptions, CorsOrigins, with_cors};
pub use listener::{Drained, Listener, ListenerOptions, Protocols, listening_socket};
pub use metrics::{RenderMetrics, metrics_router};
pub use options::{HttpOptions, ResponseCompression};
pub use pulse::while_answering;
pub use router::{health_router, not_found, router};
pub use routes::{Route, route_table};
pub use sagemaker::{SageMakerOptions, sagemaker_router};
pub use v1::v1_router;
pub use vertex::{RoutePath, RoutePathError, VertexOptions, vertex_router};
