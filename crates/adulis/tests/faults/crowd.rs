//! Many connections, most of which do nothing. The long form, with ten times as many, is a command: see docs/reliability.md.

use std::time::{Duration, Instant};

use adulis_testing::{RawConnection, TestRepository, allow_open_files};
use tokio::task::JoinSet;

use crate::support::{byte_model, serve};
use crate::{ask, assert_ok};

const IDLE: usize = 1000;
const ACTIVE: usize = 100;
/// Requests of each active one.
const REQUESTS: usize = 30;
/// More than this for each idle connection is too much: it would be a gigabyte for 16,000.
const IDLE_BYTES: f64 = 64.0 * 1024.0;

async fn get(connection: &mut RawConnection, path: &str) -> u16 {
    connection.request(&format!("GET {path}"), &[], b"").await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_and_a_hundred_active_ones() {
    allow_open_files(4 * (IDLE + ACTIVE) as u64).unwrap();
    let repository = TestRepository::new().unwrap();
    repository.identity("digits", &byte_model(&[])).unwrap();
    let server = serve(&repository, &[]);
    server.ready().await;
    let memory = || server.metric("process_resident_memory_bytes", &[]);
    let before = memory().await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut connection = server.connect().await.unwrap();
        assert_eq!(get(&mut connection, "/v2/health/live").await, 200);
        idle.push(connection);
    }
    let each = (memory().await.unwrap() - before) / IDLE as f64;
    assert!(each < IDLE_BYTES, "an idle connection takes {each} bytes");

    let mut active = JoinSet::new();
    for _ in 0..ACTIVE {
        let mut connection = server.connect().await.unwrap();
        active.spawn(async move {
            for byte in (0..=255).take(REQUESTS) {
                assert_ok(&ask(&mut connection, "digits", &[], byte).await);
            }
        });
    }
    let metrics = server.address("metrics").await;
    while !active.is_empty() {
        let asked = Instant::now();
        let mut connection = RawConnection::open(metrics).await.unwrap();
        for path in ["/v2/health/live", "/v2/health/ready", "/metrics"] {
            assert_eq!(get(&mut connection, path).await, 200, "{path}");
        }
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        while let Some(ended) = active.try_join_next() {
            ended.unwrap();
        }
    }
    let open = server.metric("adulis_connections", &["listener=\"http\""]).await.unwrap();
    assert!(open >= IDLE as f64, "{open}");
    for connection in &mut idle {
        assert_ok(&ask(connection, "digits", &[], 1).await);
    }
}
