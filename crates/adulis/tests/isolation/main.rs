//! Engines in worker processes: whatever happens to a worker, the server answers.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod crashes;
mod kills;
mod lives;
mod load;
mod memory;
mod starts;
#[path = "../support/mod.rs"]
mod support;

use adulis_testing::{TestServer, children};

/// The worker processes of a server, once there are as many as are expected.
async fn workers(server: &TestServer, expected: usize) -> Vec<u32> {
    let found = async || children(server.pid()).ok().filter(|found| found.len() == expected);
    server.wait(&format!("{expected} worker processes"), found).await
}

/// Deaths of workers that were counted, of one cause or (`""`) of all.
async fn deaths(server: &TestServer, cause: &str) -> f64 {
    let label = if cause.is_empty() { String::new() } else { format!("cause=\"{cause}\"") };
    server.metric("adulis_worker_deaths_total", &[&label]).await.unwrap()
}
