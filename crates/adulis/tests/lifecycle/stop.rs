//! Stopping: what is in flight is finished, a second signal does not wait.

use std::time::{Duration, Instant};

use adulis_testing::{StopSignal, TestRepository, TestServer};
use tokio::task::JoinSet;

use crate::support::{byte_json, byte_message, byte_model, grpc, serve};

const IN_FLIGHT: &str = "adulis_requests_in_flight";

/// One model `slow`, whose runs take so many milliseconds.
async fn slow(milliseconds: u32, arguments: &[&str]) -> (TestServer, TestRepository) {
    let repository = TestRepository::new().unwrap();
    let delay = (milliseconds * 1000).to_string();
    repository
        .identity("slow", &byte_model(&[("execute_delay_microseconds", &delay)]))
        .unwrap();
    let server = serve(&repository, &[&["--execution-threads", "2"], arguments].concat());
    server.ready().await;
    (server, repository)
}

#[tokio::test]
async fn a_signal_under_load_loses_nothing_in_flight() {
    let (mut server, _repository) = slow(200, &[]).await;
    let mut requests = JoinSet::new();
    let client = grpc(&server).await;
    for byte in 0..4 {
        let mut client = client.clone();
        requests.spawn(async move {
            let answer = client.model_infer(byte_message("slow", byte)).await;
            answer
                .map(|answer| assert_eq!(answer.get_ref().raw_output_contents, [vec![byte]]))
                .is_ok()
        });
        let mut connection = server.connect().await.unwrap();
        requests.spawn(async move {
            let body = byte_json(byte);
            let answer = connection.request("POST /v2/models/slow/infer", &[], body.as_bytes()).await;
            answer.is_ok_and(|answer| answer.status == 200 && answer.text().contains(&format!("[{byte}]")))
        });
    }
    server.metric_reaches(IN_FLIGHT, &[], 8.0).await;
    let address = server.address("http").await;
    server.signal(StopSignal::Terminate).unwrap();

    assert_eq!(requests.join_all().await, [true; 8], "{}", server.log());
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0), "{}", server.log());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn before_it_stops_accepting_it_says_that_it_is_not_ready() {
    let (mut server, _repository) = slow(1, &["--set", "server.lame_duck=3s"]).await;
    server.signal(StopSignal::Interrupt).unwrap();
    server.logged(&["shutting down", "SIGINT"]).await;
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(ready.status, 503, "{}", ready.text());
    let answer = server.infer("slow", &[], &byte_json(1)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (mut server, _repository) = slow(3000, &[]).await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/slow/infer", &[], byte_json(1).as_bytes()).await
    });
    server.metric_reaches(IN_FLIGHT, &[], 1.0).await;
    server.signal(StopSignal::Terminate).unwrap();
    server.logged(&["shutting down", "SIGTERM"]).await;
    let second = Instant::now();
    server.signal(StopSignal::Terminate).unwrap();
    let status = server.exit(Duration::from_secs(2)).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", server.log());
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    assert!(request.await.unwrap().is_err(), "nobody can have answered");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let (mut server, _repository) = slow(1500, &["--set", "server.drain_timeout=200ms"]).await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/slow/infer", &[], byte_json(1).as_bytes()).await
    });
    server.metric_reaches(IN_FLIGHT, &[], 1.0).await;
    server.signal(StopSignal::Terminate).unwrap();
    assert!(request.await.unwrap().is_err(), "the run takes longer than the drain");
    server.exit(Duration::from_secs(20)).await.unwrap();
    assert!(server.log().contains("cut off at the end of the drain time"), "{}", server.log());
}
