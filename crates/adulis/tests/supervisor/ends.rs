//! How a supervisor and its server end.

use std::time::{Duration, Instant};

use adulis_testing::{
    ProcessSignal, StopSignal, TestRepository, TestServer, children, is_alive, send_signal,
};

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

/// A server that was replaced is told to stop once: the signal to the supervisor is not its second one.
#[tokio::test]
async fn a_signal_cuts_off_nothing_that_a_replaced_server_still_answers() {
    let repository = repository();
    let mut server = up(&repository, &[]).await;
    let replaced = behind(&server).await;
    let body = byte_json(7);
    let head = format!(
        "POST /v2/models/byte/infer HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{}",
        body.len(),
        &body[..5]
    );
    let mut connection = server.connect().await.unwrap();
    connection.send(head.as_bytes()).await.unwrap();
    send_signal(server.pid(), ProcessSignal::HangUp).unwrap();
    server.logged(&["the new server is ready: the old one stops"]).await;
    let both = children(server.pid()).unwrap();
    let fresh = both.into_iter().find(|pid| *pid != replaced).unwrap();
    server.signal(StopSignal::Terminate).unwrap();
    gone(fresh).await;

    connection.send(&body.as_bytes()[5..]).await.unwrap();
    let answer = connection.receive().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let status = server.exit(Duration::from_secs(20)).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", server.log());
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
