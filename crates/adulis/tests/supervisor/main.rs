//! `adulis up`, sockets of others, and configurations that are read again.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod activation;
mod client;
mod ends;
mod grpc;
mod reload;
mod replace;
mod rest;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use adulis_testing::{IdentityModel, TestRepository, TestServer, children};

use crate::support::{BINARY, byte_model};

/// A model `byte` that answers after half a millisecond.
fn repository() -> TestRepository {
    let repository = TestRepository::new().unwrap();
    write_model(&repository, 500);
    repository
}

/// Writes that model with another time.
fn write_model(repository: &TestRepository, microseconds: u32) {
    let delay = microseconds.to_string();
    let parameters = [("execute_delay_microseconds", delay.as_str())];
    let model = IdentityModel { max_batch_size: 8, more: "dynamic_batching { }", ..byte_model(&parameters) };
    repository.identity("byte", &model).unwrap();
}

/// `adulis up` over a folder, ready.
async fn up(repository: &TestRepository, arguments: &[&str]) -> TestServer {
    up_at(repository.path(), arguments).await
}

/// The same, with what lies at a path.
async fn up_at(path: &Path, arguments: &[&str]) -> TestServer {
    let path = path.to_str().unwrap();
    let server = TestServer::start_as(BINARY, "up", &[&[path], arguments].concat()).unwrap();
    server.ready().await;
    server
}

/// The one server behind a supervisor, once there is just one.
async fn behind(up: &TestServer) -> u32 {
    let one = async || match children(up.pid()).ok()?[..] {
        [one] => Some(one),
        _ => None,
    };
    up.wait("one server", one).await
}
