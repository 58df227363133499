//! How a supervisor and its server end.

use std::time::{Duration, Instant};

use adulis_testing::{ProcessSignal, StopSignal, TestRepository, TestServer, is_alive, send_signal};

use crate::support::{BINARY, byte_json, byte_model};
use crate::{behind, repository, up};

async fn slow(milliseconds: u32) -> (TestRepository, TestServer) {
    let repository = TestRepository::new().unwrap();
    let delay = (milliseconds * 1000).to_string();
    let parameters = [("execute_delay_microseconds", delay.as_str())];
    repository.identity("byte", &byte_model(&parameters)).unwrap();
    let server = up(&repository, &[]).await;
    (repository, server)
}

async fn gone(pid: u32) {
    let begun = Instant::now();
    while is_alive(pid) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A signal is passed on; what is in flight is answered; the exit code is the server's.
#[tokio::test]
async fn a_signal_stops_the_server_first() {
    let (_repository, mut server) = slow(500).await;
    let behind = behind(&server).await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/byte/infer", &[], byte_json(7).as_bytes()).await
    });
    server.metric_reaches("adulis_requests_in_flight", &[], 1.0).await;
    server.signal(StopSignal::Terminate).unwrap();
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let status = server.exit(Duration::from_secs(20)).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    gone(behind).await;
}

#[tokio::test]
async fn a_second_signal_stops_it_at_once() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[("hang_on", "7")])).unwrap();
    let mut server = up(&repository, &["--set", "engine.inline_threshold=0s"]).await;
    let behind = behind(&server).await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/byte/infer", &[], byte_json(7).as_bytes()).await
    });
    server.metric_reaches("adulis_requests_in_flight", &[], 1.0).await;
    server.signal(StopSignal::Interrupt).unwrap();
    server.logged(&["shutting down"]).await;
    server.signal(StopSignal::Terminate).unwrap();
    let status = server.exit(Duration::from_secs(5)).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", server.log());
    assert!(request.await.unwrap().is_err(), "nobody can have answered");
    gone(behind).await;
}

/// A supervisor that is killed takes its server along, which answers what it has before.
#[tokio::test]
async fn without_its_supervisor_the_server_stops() {
    let (_repository, server) = slow(500).await;
    let behind = behind(&server).await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/byte/infer", &[], byte_json(7).as_bytes()).await
    });
    server.metric_reaches("adulis_requests_in_flight", &[], 1.0).await;
    send_signal(server.pid(), ProcessSignal::Kill).unwrap();
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    gone(behind).await;
}

#[tokio::test]
async fn what_can_never_start_is_not_tried_again() {
    let repository = repository();
    let path = repository.path().to_str().unwrap();
    for (arguments, says) in [
        (vec![path, "--http", "nowhere"], "nowhere"),
        (vec!["/no/such/models"], "/no/such/models"),
    ] {
        let mut server = TestServer::start_as(BINARY, "up", &arguments).unwrap();
        let status = server.exit(Duration::from_secs(20)).await.unwrap();
        assert_eq!(status.code(), Some(2), "{}", server.log());
        server.logged(&[says]).await;
    }
}
