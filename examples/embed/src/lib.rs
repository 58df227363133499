//! Adulis inside an Axum application: its own routes, a backend of its own, a middleware of its own, and a service of its own
//! around the engine, on one port that speaks REST and gRPC.

mod application;
mod backend;
mod counted;

pub use application::{adulis, app};
pub use backend::Reverse;
pub use counted::Counted;
