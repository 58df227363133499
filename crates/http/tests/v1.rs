//! The V1 protocol over the wire.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use adulis_http::{HttpOptions, ListenerOptions, not_found, v1_router};
use adulis_testing::{RawResponse, ScriptedService};
use support::{Server, assert_error, gunzip, gzip};

fn server(options: HttpOptions) -> Server {
    let service = Arc::new(ScriptedService::default());
    let app = v1_router(Arc::clone(&service), options).fallback(not_found);
    Server::with_router(app, service, ListenerOptions::default())
}

async fn post(server: &Server, path: &str, headers: &[&str], body: &[u8]) -> RawResponse {
    let line = format!("POST /v1/models/{path}");
    server.connect().await.request(&line, headers, body).await.unwrap()
}

#[tokio::test]
async fn predicts_in_both_formats() {
    let server = server(HttpOptions::default());
    for (path, body, expected) in [
        (
            "echo:predict",
            r#"{"instances":[[1,2],[3,4]]}"#,
            r#"{"predictions":[[1.0,2.0],[3.0,4.0]]}"#,
        ),
        (
            "echo/versions/1:predict",
            r#"{"inputs":{"INPUT0":[[1,2]]}}"#,
            r#"{"outputs":[[1.0,2.0]]}"#,
        ),
        ("echo%3Apredict", r#"{"inputs":[0.1]}"#, r#"{"outputs":[0.1]}"#),
    ] {
        let response = post(&server, path, &["content-type: application/json"], body.as_bytes()).await;
        assert_eq!((response.status, response.text().as_str()), (200, expected), "{path}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    assert_eq!(server.service.last.lock().as_ref().unwrap().model.version, None);
}

#[tokio::test]
async fn tells_what_there_is() {
    let server = server(HttpOptions::default());
    assert_eq!(server.get("/").await.text(), r#"{"status":"alive"}"#);
    assert_eq!(server.get("/v1/models").await.text(), r#"{"models":["echo","gone","loading","new"]}"#);
    let status = r#"{"name":"echo","ready":true,"model_version_status":[{"version":"1","state":"AVAILABLE","status":{"error_code":"OK","error_message":""}}]}"#;
    for path in ["/v1/models/echo", "/v1/models/echo/versions/1"] {
        assert_eq!(server.get(path).await.text(), status, "{path}");
    }
    assert_error(&server.get("/v1/models/loading").await, 503, "'loading' is not ready");
    assert_error(&server.get("/v1/models/nobody").await, 404, "nobody");
    server.service.unready.store(true, Ordering::SeqCst);
    assert_eq!(server.get("/").await.status, 200, "alive, and not ready");
}

#[tokio::test]
async fn wrong_paths_methods_and_bodies_are_told() {
    let server = server(HttpOptions::default());
    let good = br#"{"instances":[1]}"#;
    for path in [
        "echo",
        "echo:explain",
        "echo:predict/versions/1",
        "echo/versions/1",
        "echo/labels/x:predict",
    ] {
        assert_error(&post(&server, path, &[], good).await, 404, "no such route: /v1/models/echo");
    }
    assert_error(&post(&server, "nobody:predict", &[], good).await, 404, "Request for unknown model");
    assert_error(&post(&server, "echo/versions/7:predict", &[], good).await, 404, "no version 7");
    assert_error(&post(&server, "echo/versions/x:predict", &[], good).await, 400, "version");
    assert_error(&post(&server, "loading:predict", &[], good).await, 503, "not ready");
    assert_error(&post(&server, "fail-overloaded:predict", &[], good).await, 503, "asked to fail");
    assert_error(&post(&server, "slow:predict", &["x-request-timeout-ms: 20"], good).await, 504, "'slow'");
    assert_error(&post(&server, "echo:predict", &[], b"").await, 400, "the body is empty");
    assert_error(&post(&server, "echo:predict", &[], b"{}").await, 400, "missing 'instances' or 'inputs'");
    let protobuf = ["content-type: application/x-protobuf"];
    assert_error(&post(&server, "echo:predict", &protobuf, good).await, 415, "application/x-protobuf");
    let response = server.connect().await.request("DELETE /v1/models/echo", &[], b"").await.unwrap();
    assert_error(&response, 405, "not allowed");
    assert_eq!(response.header("allow"), Some("GET,HEAD,POST"));
}

#[tokio::test]
async fn bodies_are_limited_and_compressed() {
    let server = server(HttpOptions { max_body_bytes: 20_000, ..HttpOptions::default() });
    let row = format!("[{}]", vec!["1.5"; 1000].join(","));
    let body = format!(r#"{{"instances":[{row},{row}]}}"#);
    let headers = ["content-encoding: gzip", "accept-encoding: gzip"];
    let response = post(&server, "echo:predict", &headers, &gzip(body.as_bytes())).await;
    assert_eq!(response.header("content-encoding"), Some("gzip"), "{}", response.text());
    let answer = format!(r#"{{"predictions":[{row},{row}]}}"#);
    assert_eq!(gunzip(&response.body), answer.as_bytes());
    assert_error(&post(&server, "echo:predict", &[], &vec![b' '; 20_001]).await, 413, "20000 bytes");
}
