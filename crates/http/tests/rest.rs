//! The REST adapter over a scripted service: routes, statuses, headers, limits, compression, panics, timeouts.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use adulis_http::{HttpOptions, ListenerOptions, Pace, ResponseCompression, not_found, router};
use adulis_testing::ScriptedService;
use axum::Router;
use axum::routing::get;
use support::{Server, assert_error, binary_body, gunzip, gzip, json_body, tensor};

#[tokio::test]
async fn health_and_metadata() {
    let server = Server::default().await;
    for (path, body) in [
        ("/v2/health/live", r#"{"live":true}"#),
        ("/v2/health/ready?stray=1", r#"{"ready":true}"#),
        ("/v2/models/echo/ready", r#"{"name":"echo","ready":true}"#),
        ("/v2/models/echo/versions/1/ready", r#"{"name":"echo","ready":true}"#),
        ("/v2/models/a%20name%2Fwith%20%C3%A9/ready", r#"{"name":"a name/with é","ready":true}"#),
    ] {
        let response = server.get(path).await;
        assert_eq!((response.status, response.text().as_str()), (200, body), "{path}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    for (path, name) in [
        ("/v2", "scripted"),
        ("/v2/", "scripted"),
        ("/v2/models/echo", "echo"),
        ("/v2/models/echo/versions/1", "echo"),
    ] {
        let response = server.get(path).await;
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, body["name"].as_str()), (200, Some(name)), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_ready_is_503() {
    let server = Server::default().await;
    server.service.unready.store(true, Ordering::SeqCst);
    assert_error(&server.get("/v2/health/ready").await, 503, "not ready");
    assert_error(&server.get("/v2/models/loading/ready").await, 503, "'loading' is not ready");
    assert_eq!(server.get("/v2/health/live").await.status, 200);
}

#[tokio::test]
async fn unknown_routes_models_and_versions_are_404() {
    let server = Server::default().await;
    for path in [
        "/v2/nothing",
        "/v2/models",
        "/v2/models/echo/",
        "/v2/models/echo/what/ever",
        "/v2/health",
    ] {
        assert_error(&server.get(path).await, 404, "no such route");
    }
    assert_error(&server.get("/v2/models/nobody").await, 404, "Request for unknown model");
    assert_error(&server.infer("nobody", &[], &json_body(1)).await, 404, "nobody");
    assert_error(&server.get("/v2/models/echo/versions/7").await, 404, "no version 7");
    assert_error(&server.get("/v2/models/echo/versions/x/ready").await, 400, "version");
    assert_error(&server.get("/v2/models/%ff/ready").await, 400, "UTF-8");
}

#[tokio::test]
async fn wrong_methods_are_405_with_allow() {
    let server = Server::default().await;
    let mut connection = server.connect().await;
    for (line, allow) in [
        ("DELETE /v2/health/live", "GET,HEAD"),
        ("POST /v2", "GET,HEAD"),
        ("GET /v2/models/echo/infer", "POST"),
        ("PUT /v2/models/echo/versions/1/infer", "POST"),
    ] {
        let response = connection.request(line, &[], b"").await.unwrap();
        assert_error(&response, 405, "not allowed");
        assert_eq!(response.header("allow"), Some(allow), "{line}");
    }
}

#[tokio::test]
async fn answers_json_and_binary() {
    let server = Server::default().await;
    let response = server.infer("echo", &["content-type: application/json"], &json_body(4)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("inference-header-content-length"), None);
    assert_eq!(response.header("x-request-id"), None);
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["outputs"][0]["data"][3].as_f64(), Some(3.0));

    for count in [16, 300_000] {
        let (body, header) = binary_body(count);
        let header = format!("inference-header-content-length: {header}");
        let response = server.infer("echo/versions/1", &[&header], &body).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("application/octet-stream"));
        let at: usize = response.header("inference-header-content-length").unwrap().parse().unwrap();
        assert_eq!(&response.body[at..], tensor(count));
    }
}

#[tokio::test]
async fn large_binary_inputs_arrive_aligned() {
    let server = Server::default().await;
    let (body, header) = binary_body(100_000);
    let header = format!("inference-header-content-length: {header}");
    assert_eq!(server.infer("echo", &[&header], &body).await.status, 200);
    let last = server.service.last.lock().take().unwrap();
    assert_eq!(last.inputs[0].tensor.data().as_ptr().addr() % 64, 0);
}

#[tokio::test]
async fn chunked_bodies_are_read() {
    let server = Server::default().await;
    let mut connection = server.connect().await;
    let body = json_body(5000);
    let mut message =
        b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(999) {
        message.extend(format!("{:x}\r\n", chunk.len()).bytes());
        message.extend_from_slice(chunk);
        message.extend(b"\r\n");
    }
    message.extend(b"0\r\n\r\n");
    connection.send(&message).await.unwrap();
    assert_eq!(connection.receive().await.unwrap().status, 200);
}

#[tokio::test]
async fn content_types() {
    let server = Server::default().await;
    let body = json_body(1);
    for served in [
        "application/json; charset=utf-8",
        "application/octet-stream",
        "text/plain",
        "application/x-www-form-urlencoded",
    ] {
        let header = format!("content-type: {served}");
        assert_eq!(server.infer("echo", &[&header], &body).await.status, 200, "{served}");
    }
    for refused in ["multipart/form-data; boundary=x", "image/png", "application/xml"] {
        let header = format!("content-type: {refused}");
        assert_error(&server.infer("echo", &[&header], &body).await, 415, refused);
    }
}

#[tokio::test]
async fn errors_of_the_service_have_their_statuses() {
    let server = Server::default().await;
    for (model, status) in [
        ("fail-invalid_argument", 400),
        ("fail-not_found", 404),
        ("fail-unauthenticated", 401),
        ("fail-permission_denied", 403),
        ("fail-too_large", 413),
        ("fail-rate_limited", 429),
        ("fail-overloaded", 503),
        ("fail-unavailable", 503),
        ("fail-deadline_exceeded", 504),
        ("fail-unsupported", 501),
        ("fail-internal", 500),
    ] {
        let response = server.infer(model, &[], &json_body(1)).await;
        assert_error(&response, status, "asked to fail");
        let retry = (model == "fail-overloaded").then_some("2");
        assert_eq!(response.header("retry-after"), retry, "{model}");
    }
}

#[tokio::test]
async fn bad_headers_are_400() {
    let server = Server::default().await;
    for header in [
        "inference-header-content-length: -1",
        "inference-header-content-length: +1",
        "inference-header-content-length: many",
        "x-request-timeout-ms: soon",
        "x-envoy-expected-rq-timeout-ms: 1.5",
    ] {
        let name = header.split(':').next().unwrap();
        assert_error(&server.infer("echo", &[header], &json_body(1)).await, 400, name);
    }
    assert_error(
        &server.infer("echo", &["inference-header-content-length: 5000"], &json_body(1)).await,
        400,
        "5000",
    );
    assert_error(&server.infer("echo", &[], b"").await, 400, "");
    assert_error(&server.infer("echo", &[], b"{").await, 400, "");
}

#[tokio::test]
async fn bodies_over_the_limit_are_413() {
    let options = HttpOptions { max_body_bytes: 10_000, ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    // Only the head is sent: the answer does not wait for the body.
    let mut connection = server.connect().await;
    let head = b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 10001\r\n\r\n";
    connection.send(head).await.unwrap();
    assert_error(&connection.receive().await.unwrap(), 413, "10000 bytes");

    let mut connection = server.connect().await;
    let mut message =
        b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    message.extend(format!("{:x}\r\n{}\r\n", 10_001, "x".repeat(10_001)).bytes());
    connection.send(&message).await.unwrap();
    assert_error(&connection.receive().await.unwrap(), 413, "10000 bytes");
}

#[tokio::test]
async fn compressed_both_ways() {
    let server = Server::default().await;
    for count in [16, 20_000] {
        let (body, header) = binary_body(count);
        let header = format!("inference-header-content-length: {header}");
        let headers = [&header[..], "content-encoding: gzip", "accept-encoding: gzip"];
        let response = server.infer("echo", &headers, &gzip(&body)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let large = count > 16;
        assert_eq!(response.header("content-encoding"), large.then_some("gzip"));
        let body = if large { gunzip(&response.body) } else { response.body.clone() };
        let at: usize = response.header("inference-header-content-length").unwrap().parse().unwrap();
        assert_eq!(&body[at..], tensor(count), "{count}");
    }
    let response = server.infer("echo", &["accept-encoding: gzip, deflate, br"], &json_body(2000)).await;
    assert_eq!(response.header("content-encoding"), None, "a list is no explicit wish");
}

#[tokio::test]
async fn a_policy_can_compress_for_everybody() {
    let options = HttpOptions { compression: ResponseCompression::Accepted, ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    let response = server.infer("echo", &["accept-encoding: br, gzip;q=0.5"], &json_body(2000)).await;
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert!(gunzip(&response.body).starts_with(b"{"));
}

#[tokio::test]
async fn bombs_and_damaged_or_unknown_encodings_are_refused() {
    let options = HttpOptions { max_body_bytes: 1 << 20, ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    let bomb = gzip(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 100_000);
    assert_error(&server.infer("echo", &["content-encoding: gzip"], &bomb).await, 413, "decompressed");
    assert_error(
        &server.infer("echo", &["content-encoding: gzip"], b"no gzip").await,
        400,
        "not valid gzip",
    );
    assert_error(
        &server.infer("echo", &["content-encoding: deflate"], b"no zlib").await,
        400,
        "not valid deflate",
    );
    assert_error(&server.infer("echo", &["content-encoding: br"], b"x").await, 415, "'br'");
}

#[tokio::test]
async fn a_panic_is_500_and_the_server_goes_on() {
    let server = Server::default().await;
    let mut connection = server.connect().await;
    for _ in 0..3 {
        let response = connection.request("POST /v2/models/panic/infer", &[], &json_body(1)).await.unwrap();
        assert_error(&response, 500, "internal error");
        assert!(!response.text().contains("asked to panic"), "internals leaked");
        assert!(
            response.header("x-request-id").is_some_and(|id| !id.is_empty()),
            "it is found in the log by it"
        );
    }
    let own = ["x-request-id: the-client-s-own"];
    let response = connection.request("POST /v2/models/panic/infer", &own, &json_body(1)).await.unwrap();
    assert_eq!((response.status, response.header("x-request-id")), (500, Some("the-client-s-own")));
    let response = connection.request("POST /v2/models/echo/infer", &[], &json_body(1)).await.unwrap();
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn timeouts_are_504_and_cancel() {
    let server = Server::default().await;
    let response = server.infer("slow", &["x-request-timeout-ms: 20"], &json_body(1)).await;
    assert_error(&response, 504, "'slow' did not answer within 20ms");
    server.service.calls.wait_cancelled(1).await;
    let headers = [
        "x-request-timeout-ms: 50000",
        "x-envoy-expected-rq-timeout-ms: 15",
    ];
    assert_error(&server.infer("slow", &headers, &json_body(1)).await, 504, "15ms");
    assert_eq!(server.service.last.lock().as_ref().unwrap().timeout, Some(Duration::from_millis(15)));

    let options = HttpOptions { request_timeout: Some(Duration::from_millis(30)), ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    let response = server.infer("slow", &["x-request-timeout-ms: 50000"], &json_body(1)).await;
    assert_error(&response, 504, "30ms");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let options = HttpOptions {
        body_pace: Pace { whole: Duration::from_millis(50), ..Pace::default() },
        ..HttpOptions::default()
    };
    let server = Server::start(options, ListenerOptions::default()).await;
    let mut connection = server.connect().await;
    let head = b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"inp";
    connection.send(head).await.unwrap();
    assert_error(&connection.receive().await.unwrap(), 408, "did not arrive within 50ms");
}

#[tokio::test]
async fn request_ids_are_echoed_if_they_are_harmless() {
    let server = Server::default().await;
    let response = server.infer("echo", &["x-request-id: abc-1"], &json_body(1)).await;
    assert_eq!(response.header("x-request-id"), Some("abc-1"));
    let response = server.infer("nobody", &["x-request-id: abc-2"], &json_body(1)).await;
    assert_eq!(response.header("x-request-id"), Some("abc-2"));
    let bad = format!("x-request-id: {}", "a".repeat(129));
    let response = server.infer("echo", &[&bad], &json_body(1)).await;
    assert_eq!(response.header("x-request-id"), None);
    let one = server.get("/v2/models/nobody").await;
    let two = server.get("/v2/models/nobody").await;
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn mounts_into_another_application() {
    let service = Arc::new(ScriptedService::default());
    let rest = router(Arc::clone(&service), HttpOptions::default());
    let app = Router::new()
        .route("/", get(|| async { "own" }))
        .merge(rest.clone())
        .nest("/tenants/{model_of}/ai", rest)
        .fallback(not_found);
    let server = Server::with_router(app, service, ListenerOptions::default());
    assert_eq!(server.get("/").await.text(), "own");
    assert_error(&server.get("/elsewhere").await, 404, "/elsewhere");
    for path in ["/v2/models/echo/infer", "/tenants/acme/ai/v2/models/echo/infer"] {
        let mut connection = server.connect().await;
        let response = connection.request(&format!("POST {path}"), &[], &json_body(1)).await.unwrap();
        assert_eq!(response.status, 200, "{path}: {}", response.text());
    }
    assert_error(&server.get("/tenants/acme/ai/v2/nothing").await, 404, "no such route");
}
