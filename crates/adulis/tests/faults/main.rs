//! What becomes of requests when something around the server fails: the rows of the table of faults in docs/reliability.md that
//! have no better place.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod clock;
mod crowd;
mod cut;
mod database;
mod disk;
mod files;
mod hung;
mod slow;
mod storage;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use adulis_testing::{RawConnection, RawResponse, TestServer};

/// Waits for what is to be so.
async fn until(what: &str, server: &TestServer, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A request to a byte model on a connection that is there.
async fn ask(connection: &mut RawConnection, model: &str, headers: &[&str], byte: u8) -> RawResponse {
    let (line, body) = (format!("POST /v2/models/{model}/infer"), support::byte_json(byte));
    connection.request(&line, headers, body.as_bytes()).await.unwrap()
}

/// Asserts that what was asked is answered.
fn assert_ok(answer: &RawResponse) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}
