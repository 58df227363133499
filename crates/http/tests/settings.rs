//! Routes of the logging and trace extensions.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;

use adulis_http::{HttpOptions, ListenerOptions, router};
use adulis_testing::{RawResponse, ScriptedLog, ScriptedService};
use adulis_types::Services;
use serde_json::{Value, json};
use support::{Server, assert_error};

fn logging() -> Server {
    let service = Arc::new(ScriptedService::default());
    let log = Arc::new(ScriptedLog::default());
    let services = Services { log: Some(log), ..Services::from(Arc::clone(&service)) };
    Server::with_router(router(services, HttpOptions::default()), service, ListenerOptions::default())
}

async fn post(server: &Server, path: &str, body: &str) -> RawResponse {
    server
        .connect()
        .await
        .request(&format!("POST {path}"), &[], body.as_bytes())
        .await
        .unwrap()
}

fn settings(response: &RawResponse) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).unwrap()
}

#[tokio::test]
async fn the_log_is_seen_and_changed() {
    let server = logging();
    let mut expected = json!({
        "log_file": "", "log_info": true, "log_warning": true, "log_error": true, "log_verbose_level": 0,
        "log_format": "default",
    });
    assert_eq!(settings(&server.get("/v2/logging?stray=1").await), expected);
    let changed = post(&server, "/v2/logging", r#"{"log_info":false,"log_verbose_level":2}"#).await;
    expected["log_info"] = false.into();
    expected["log_verbose_level"] = 2.into();
    assert_eq!(settings(&changed), expected);
    assert_eq!(settings(&post(&server, "/v2/logging", "").await), expected);
    assert_eq!(settings(&server.get("/v2/logging").await), expected);
}

#[tokio::test]
async fn what_is_wrong_changes_nothing() {
    let server = logging();
    let before = settings(&server.get("/v2/logging").await);
    for (body, status, part) in [
        (r#"{"log_info":false,"log_errors":0}"#, 400, "'log_errors': expected true or false, got 0"),
        (r#"{"log_info":false,"log_colour":"red"}"#, 400, "unknown setting 'log_colour'"),
        (
            r#"{"log_info":false,"log_file":"/x"}"#,
            501,
            "'log_file' is made where the server is started",
        ),
        (r#"{"log_info":false,"log_verbose_level":13}"#, 500, "the log cannot be changed"),
        ("{", 400, "invalid JSON"),
    ] {
        assert_error(&post(&server, "/v2/logging", body).await, status, part);
        assert_eq!(settings(&server.get("/v2/logging").await), before);
    }
    let padded = format!("{{{}}}", " ".repeat(20_000));
    assert_error(&post(&server, "/v2/logging", &padded).await, 413, "over the limit of 16384 bytes");
    let wrong = server.connect().await.request("DELETE /v2/logging", &[], b"").await.unwrap();
    assert_error(&wrong, 405, "method DELETE is not allowed");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD,POST"));
}

#[tokio::test]
async fn extensions_are_those_that_are_there() {
    let names = async |server: &Server| {
        let metadata = settings(&server.get("/v2").await);
        metadata["extensions"].as_array().unwrap().contains(&json!("logging"))
    };
    assert!(names(&logging()).await);
    let without = Server::default().await;
    assert!(!names(&without).await);
    for path in [
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/models/echo/trace/setting",
    ] {
        assert_error(&without.get(path).await, 501, "is not supported by this server");
        assert_error(&post(&without, path, "{}").await, 501, "is not supported by this server");
    }
}
