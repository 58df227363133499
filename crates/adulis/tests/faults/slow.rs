//! Clients that are slow, on purpose or not: heads and bodies that do not end, answers that nobody reads.

use std::time::{Duration, Instant};

use adulis_testing::{IdentityModel, RawConnection, TestRepository, TestServer};
use tokio::task::JoinSet;

use crate::cut::Call;
use crate::support::{INFER, byte_json, byte_model, serve};
use crate::{ask, assert_ok};

/// Of each kind.
const CLIENTS: usize = 40;
/// Of an answer that fits into no socket's buffer.
const LARGE: usize = 12 << 20;

/// A request whose answer is as large as it is.
fn large() -> Vec<u8> {
    let head = format!(
        r#"{{"inputs":[{{"name":"INPUT0","datatype":"UINT8","shape":[{LARGE}],"parameters":{{"binary_data_size":{LARGE}}}}}],"parameters":{{"binary_data_output":true}}}}"#
    );
    let length = head.len() + LARGE;
    let line = "POST /v2/models/large/infer HTTP/1.1\r\nhost: x";
    let header = head.len();
    let start = format!(
        "{line}\r\ninference-header-content-length: {header}\r\ncontent-length: {length}\r\n\r\n{head}"
    );
    [start.into_bytes(), vec![7; LARGE]].concat()
}

/// Connections that stand still in the middle of something.
async fn stuck(server: &TestServer) -> (Vec<RawConnection>, Vec<Call>) {
    let (mut connections, mut calls, large) = (Vec::new(), Vec::new(), large());
    for _ in 0..CLIENTS {
        let mut head = server.connect().await.unwrap();
        head.send(b"POST /v2/models/di").await.unwrap();
        let mut body = server.connect().await.unwrap();
        let line = b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{";
        body.send(line).await.unwrap();
        connections.extend([head, body]);
        calls.push(Call::begin(server, INFER, vec![0, 0, 0, 4, 0, 1, 2, 3]).await);
    }
    for _ in 0..CLIENTS / 10 {
        let mut reader = server.connect().await.unwrap();
        reader.send(&large).await.unwrap();
        connections.push(reader);
    }
    (connections, calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_take_nothing_from_others() {
    let repository = TestRepository::new().unwrap();
    repository.identity("digits", &byte_model(&[])).unwrap();
    let large = IdentityModel { inputs: &[("UINT8", "-1")], max_batch_size: 0, ..byte_model(&[]) };
    repository.identity("large", &large).unwrap();
    let settings = [
        "server.header_timeout=3s",
        "server.body_timeout=3s",
        "server.idle_timeout=3s",
    ];
    let server = serve(&repository, &settings.map(|setting| ["--set", setting]).concat());
    server.ready().await;
    let (mut connections, calls) = stuck(&server).await;
    let mut others = JoinSet::new();
    for byte in 0..4 {
        let mut connection = server.connect().await.unwrap();
        others.spawn(async move {
            let mut slowest = Duration::ZERO;
            for _ in 0..100 {
                let begun = Instant::now();
                assert_ok(&ask(&mut connection, "digits", &[], byte).await);
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        });
    }
    let slowest = others.join_all().await.into_iter().max().unwrap();
    assert!(slowest < Duration::from_secs(1), "a request took {slowest:?}");

    // Each is ended, and none has anything left. Those that do not read must not be read from before.
    let labels = ["listener=\"http\"", "reason=\"stuck\""];
    server
        .metric_reaches("adulis_connections_closed_total", &labels, (CLIENTS / 10) as f64)
        .await;
    for connection in &mut connections {
        assert!(connection.closed_within(Duration::from_secs(20)).await);
    }
    for call in calls {
        assert_eq!(call.status().await, Some(4), "DEADLINE_EXCEEDED");
    }
    for listener in ["http", "grpc"] {
        let label = format!("listener=\"{listener}\"");
        server.metric_reaches("adulis_connections", &[&label], 0.0).await;
    }
    server.metric_reaches("adulis_requests_in_flight", &[], 0.0).await;
    let labels = ["listener=\"http\"", "reason=\"header_timeout\""];
    let heads = server.metric("adulis_connections_closed_total", &labels).await.unwrap();
    assert!(heads >= CLIENTS as f64, "{heads}");
    let mut fresh = server.connect().await.unwrap();
    let line = "POST /v2/models/digits/infer";
    assert_ok(&fresh.request(line, &[], byte_json(1).as_bytes()).await.unwrap());
}
