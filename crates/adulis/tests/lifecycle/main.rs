//! The life of the real server: starting, models that fail, limits, stopping. Each over REST and gRPC.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod control;
#[cfg(target_os = "linux")]
mod exhaustion;
mod limits;
mod links;
mod logging;
mod models;
mod probe;
mod start;
mod stop;
#[path = "../support/mod.rs"]
mod support;
mod tracing;
