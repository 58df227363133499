//! Requests that end otherwise than well: panics, callers that go away, deadlines, full queues.

use std::time::{Duration, Instant};

use adulis_testing::{IdentityModel, TestRepository, TestServer};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::support::{byte_json, byte_message, byte_model, grpc, infer_raw, serve};

const REQUESTS: &str = "adulis_inference_requests_total";
const SLOW: &str = "model=\"slow\"";
const WAITING: &str = "adulis_queue_requests";
const EXECUTING: &str = "adulis_executing_batches";

/// `slow` takes so many milliseconds for each request, one at a time; `byte` answers at once.
async fn slow(milliseconds: u32, arguments: &[&str]) -> (TestServer, TestRepository) {
    let repository = TestRepository::new().unwrap();
    let delay = (milliseconds * 1000).to_string();
    repository
        .identity("slow", &byte_model(&[("execute_delay_microseconds", &delay)]))
        .unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    let server = serve(&repository, arguments);
    server.ready().await;
    (server, repository)
}

/// A REST request to `slow` on a connection of its own; aborting it closes the connection.
async fn ask_slow(server: &TestServer) -> JoinHandle<u16> {
    let mut connection = server.connect().await.unwrap();
    tokio::spawn(async move {
        let body = byte_json(1);
        connection
            .request("POST /v2/models/slow/infer", &[], body.as_bytes())
            .await
            .unwrap()
            .status
    })
}

#[tokio::test]
async fn a_panic_in_the_backend_is_an_answer() {
    let repository = TestRepository::new().unwrap();
    repository
        .identity("touchy", &byte_model(&[("panic_on", "113"), ("fail_on", "114")]))
        .unwrap();
    let server = serve(&repository, &[]);
    server.ready().await;
    let mut client = grpc(&server).await;
    for (byte, says) in [
        (113, "model 'touchy': the backend panicked"),
        (114, "model 'touchy': execution failed"),
    ] {
        let answer = server.infer("touchy", &[], &byte_json(byte)).await.unwrap();
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.text().contains(says), "{}", answer.text());
        let status = client.model_infer(byte_message("touchy", byte)).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(status.message().starts_with(says), "{status}");

        let answer = server.infer("touchy", &[], &byte_json(1)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        client.model_infer(byte_message("touchy", 1)).await.unwrap();
    }
    let failed = server.metric(REQUESTS, &["model=\"touchy\"", "outcome=\"internal\""]).await;
    assert_eq!(failed.unwrap(), 4.0);
}

#[tokio::test]
async fn a_rest_client_that_goes_away_is_cancelled() {
    let (server, _repository) = slow(1500, &[]).await;
    let running = ask_slow(&server).await;
    server.metric_reaches(EXECUTING, &[SLOW], 1.0).await;
    let waiting = ask_slow(&server).await;
    server.metric_reaches(WAITING, &[SLOW], 1.0).await;

    waiting.abort();
    // Long before an instance is free: the place in the queue is given back at once.
    server.metric_reaches(REQUESTS, &[SLOW, "outcome=\"cancelled\""], 1.0).await;
    server.metric_reaches(WAITING, &[SLOW], 0.0).await;
    assert_eq!(server.metric(EXECUTING, &[SLOW]).await.unwrap(), 1.0);
    running.abort();
    server.metric_reaches(REQUESTS, &[SLOW, "outcome=\"cancelled\""], 2.0).await;
    assert_eq!(server.metric(REQUESTS, &[SLOW, "outcome=\"ok\""]).await.unwrap(), 0.0);
    assert_eq!(ask_slow(&server).await.await.unwrap(), 200);
    // Warm-up aside: the first and the last were run, the one that left the queue never was.
    assert_eq!(server.metric("adulis_inference_rows_total", &[SLOW]).await.unwrap(), 2.0);
}

#[tokio::test]
async fn a_grpc_call_that_is_dropped_is_cancelled() {
    let (server, _repository) = slow(1500, &[]).await;
    let client = grpc(&server).await;
    let call = || {
        let mut client = client.clone();
        tokio::spawn(async move { client.model_infer(byte_message("slow", 1)).await })
    };
    let running = call();
    server.metric_reaches(EXECUTING, &[SLOW], 1.0).await;
    let waiting = call();
    server.metric_reaches(WAITING, &[SLOW], 1.0).await;

    waiting.abort();
    server.metric_reaches(REQUESTS, &[SLOW, "outcome=\"cancelled\""], 1.0).await;
    server.metric_reaches(WAITING, &[SLOW], 0.0).await;
    running.abort();
    server.metric_reaches(REQUESTS, &[SLOW, "outcome=\"cancelled\""], 2.0).await;
    call().await.unwrap().unwrap();
    assert_eq!(server.metric("adulis_inference_rows_total", &[SLOW]).await.unwrap(), 2.0);
}

#[tokio::test]
async fn deadlines_are_kept() {
    let (server, _repository) = slow(2000, &[]).await;
    let begun = Instant::now();
    let answer = server.infer("slow", &["x-request-timeout-ms: 150"], &byte_json(1)).await.unwrap();
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("model 'slow'"), "{}", answer.text());

    let (code, message) = infer_raw(&server, &[("grpc-timeout", "150m")], &byte_message("slow", 1)).await;
    assert_eq!(code, Code::DeadlineExceeded as i32, "{message}");
    assert!(message.contains("model%20'slow'"), "{message}");

    let timed = byte_json(1).replacen('{', r#"{"parameters":{"timeout":150000},"#, 1);
    let answer = server.infer("slow", &[], &timed).await.unwrap();
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(
        begun.elapsed() < Duration::from_millis(1800),
        "{:?}: no run was waited for",
        begun.elapsed()
    );

    let past = server.metric(REQUESTS, &[SLOW, "outcome=\"deadline_exceeded\""]).await;
    assert_eq!(past.unwrap(), 3.0);
    let answer = server.infer("byte", &["x-request-timeout-ms: 5000"], &byte_json(1)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let (server, _repository) = slow(1500, &["--set", "engine.max_queued_rows=1"]).await;
    let running = ask_slow(&server).await;
    server.metric_reaches(EXECUTING, &[SLOW], 1.0).await;
    let waiting = ask_slow(&server).await;
    server.metric_reaches(WAITING, &[SLOW], 1.0).await;

    let answer = server.infer("slow", &[], &byte_json(1)).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("model 'slow': the queue is full"), "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&seconds), "{seconds}");
    let status = grpc(&server).await.model_infer(byte_message("slow", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"), "{status:?}");
    // Another model's queue is its own.
    let answer = server.infer("byte", &[], &byte_json(1)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());

    assert_eq!((running.await.unwrap(), waiting.await.unwrap()), (200, 200));
    let refused = server.metric(REQUESTS, &[SLOW, "outcome=\"overloaded\""]).await;
    assert_eq!(refused.unwrap(), 2.0);
}

#[tokio::test]
async fn health_and_metrics_answer_while_the_queue_is_full_and_all_connections_are_busy() {
    const CONNECTIONS: usize = 4;
    let arguments = [
        "--set",
        "engine.max_queued_rows=2",
        "--set",
        "server.max_connections=4",
    ];
    let (server, _repository) = slow(2000, &arguments).await;
    let mut busy = Vec::new();
    for waiting in 0..3 {
        busy.push(ask_slow(&server).await);
        server.metric_reaches(EXECUTING, &[SLOW], 1.0).await;
        server.metric_reaches(WAITING, &[SLOW], f64::from(waiting)).await;
    }
    // The queue is full. A connection that is there asks for health, and is refused its inference.
    let mut last = server.connect().await.unwrap();
    let body = byte_json(1);
    let answer = last.request("POST /v2/models/slow/infer", &[], body.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    // Three runs of two seconds are before it.
    assert!((1..=10).contains(&seconds), "{seconds}");
    let asked = Instant::now();
    assert_eq!(last.request("GET /v2/health/ready", &[], b"").await.unwrap().status, 200);
    assert_eq!(busy.len() + 1, CONNECTIONS);
    // One connection more than there may be is told so.
    let refused = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));

    for path in ["/livez", "/v2/health/live", "/v2/health/ready", "/metrics"] {
        let answer = server.get_on("metrics", path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}: nothing waits for a run", asked.elapsed());
    for asked in busy {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

/// Two requests in one batch that fails: the line about the batch names both, and so does each one's own.
#[tokio::test]
async fn log_lines_name_the_requests_they_are_about() {
    let repository = TestRepository::new().unwrap();
    let model = IdentityModel {
        inputs: &[("UINT8", "1")],
        max_batch_size: 2,
        parameters: &[("fail_on", "114")],
        more: "dynamic_batching { preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 20000000 }",
    };
    repository.identity("pair", &model).unwrap();
    let server = serve(&repository, &["--set", "engine.inline_threshold=0s"]);
    server.ready().await;

    let (given, made) = (byte_json(114), byte_json(114));
    let (named, numbered) = tokio::join!(
        server.infer("pair", &["x-request-id: the-client-s-own"], &given),
        server.infer("pair", &[], &made),
    );
    let (named, numbered) = (named.unwrap(), numbered.unwrap());
    assert_eq!((named.status, numbered.status), (500, 500), "{}", named.text());
    assert_eq!(named.header("x-request-id"), Some("the-client-s-own"));
    let number = numbered.header("x-request-id").unwrap();

    server.logged(&["a batch failed", "\"request_ids\":", "the-client-s-own", number]).await;
    for id in ["the-client-s-own", number] {
        server.logged(&["request failed", &format!("\"request_id\":\"{id}\"")]).await;
    }
}
