//! Traces of REST requests, and headers that become parameters.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adulis_http::{HeaderPattern, HttpOptions, ListenerOptions, router, v1_router};
use adulis_telemetry::{MetricRegistry, TraceOptions, Tracer};
use adulis_testing::{RawResponse, ScriptedService};
use adulis_types::{ParameterValue, Services, TraceLevels};
use serde_json::{Value, json};
use support::{Server, assert_error, json_body};
use tempfile::TempDir;

const BOTH: TraceLevels = TraceLevels { timestamps: true, tensors: true };

/// A server that traces into a folder.
fn tracing(mut options: TraceOptions) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    options.file = folder.path().join("t.json");
    let service = Arc::new(ScriptedService::default());
    let tracer = Arc::new(Tracer::new(options, &MetricRegistry::default()));
    let services = Services { trace: Some(tracer), ..Services::from(Arc::clone(&service)) };
    let http = HttpOptions { min_compress_bytes: 1, ..HttpOptions::default() };
    let app = router(services.clone(), http.clone()).merge(v1_router(services, http));
    (Server::with_router(app, service, ListenerOptions::default()), folder)
}

fn all() -> TraceOptions {
    TraceOptions { levels: BOTH, rate: 1, ..TraceOptions::default() }
}

/// The objects in a file, when there are traces of so many requests.
async fn traces(path: &Path, count: usize) -> Vec<Value> {
    for _ in 0..1000 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let objects: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
        if objects.iter().filter(|object| object.get("model_name").is_some()).count() >= count {
            return objects;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Vec::new()
}

/// Names of the moments, in the order of their times.
fn moments(objects: &[Value]) -> Vec<&str> {
    let mut moments: Vec<_> = objects
        .iter()
        .filter_map(|object| object.get("timestamps")?.get(0))
        .map(|moment| (moment["ns"].as_u64().unwrap(), moment["name"].as_str().unwrap()))
        .collect();
    assert!(moments.is_sorted_by_key(|(at, _)| *at), "{moments:?}");
    moments.dedup();
    moments.into_iter().map(|(_, name)| name).collect()
}

async fn post(server: &Server, path: &str, body: &str) -> RawResponse {
    server
        .connect()
        .await
        .request(&format!("POST {path}"), &[], body.as_bytes())
        .await
        .unwrap()
}

const REST: [&str; 12] = [
    "HTTP_RECV_START",
    "HTTP_RECV_END",
    "REQUEST_START",
    "QUEUE_START",
    "COMPUTE_START",
    "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START",
    "COMPUTE_END",
    "INFER_RESPONSE_COMPLETE",
    "REQUEST_END",
    "HTTP_SEND_START",
    "HTTP_SEND_END",
];

#[tokio::test]
async fn a_request_is_traced_from_its_head_to_the_end_of_its_answer() {
    let (server, folder) = tracing(all());
    let body = r#"{"id":"r7","inputs":[{"name":"INPUT0","datatype":"FP32","shape":[1,2],"data":[1.5,2]}]}"#;
    // Compressed or not.
    for header in ["accept-encoding: identity", "accept-encoding: gzip"] {
        assert_eq!(server.infer("echo", &[header], body.as_bytes()).await.status, 200);
    }
    let objects = traces(&folder.path().join("t.json"), 2).await;
    for id in 1..=2 {
        let of: Vec<Value> = objects.iter().filter(|object| object["id"] == id).cloned().collect();
        assert_eq!(of[0], json!({"id": id, "model_name": "echo", "model_version": 1, "request_id": "r7"}));
        assert_eq!(moments(&of), REST);
        let tensors: Vec<&Value> = of.iter().filter(|object| object.get("tensor").is_some()).collect();
        for (object, activity) in tensors.iter().zip(["TENSOR_QUEUE_INPUT", "TENSOR_BACKEND_OUTPUT"]) {
            let tensor = json!({"name": "INPUT0", "data": "1.5,2", "shape": "1,2", "dtype": "FP32"});
            assert_eq!(**object, json!({"id": id, "activity": activity, "tensor": tensor}));
        }
        assert_eq!(tensors.len(), 2);
    }
}

#[tokio::test]
async fn so_are_requests_that_fail_and_those_of_other_front_doors() {
    let (server, folder) = tracing(TraceOptions { log_frequency: 1, ..all() });
    assert_eq!(server.infer("fail-internal", &[], &json_body(1)).await.status, 500);
    let objects = traces(&folder.path().join("t.json.0"), 1).await;
    assert_eq!(moments(&objects), ["HTTP_RECV_START", "HTTP_RECV_END", "REQUEST_START", "REQUEST_END"]);
    let answer = post(&server, "/v1/models/echo:predict", r#"{"inputs":[[1]]}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let objects = traces(&folder.path().join("t.json.1"), 1).await;
    assert_eq!(moments(&objects), REST);
}

#[tokio::test]
async fn settings_are_seen_and_changed() {
    let (server, folder) = tracing(TraceOptions::default());
    let told = |response: RawResponse| -> Value {
        assert_eq!(response.status, 200, "{}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    };
    let file = folder.path().join("t.json");
    let mut expected = json!({
        "trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0",
        "trace_file": file.to_str().unwrap(), "trace_mode": "triton",
    });
    let (all, model) = ("/v2/trace/setting", "/v2/models/echo/trace/setting");
    assert_eq!(told(server.get(all).await), expected);
    assert_eq!(told(server.get(model).await), expected);
    let update = r#"{"trace_level":["TIMESTAMPS"],"trace_rate":"1","trace_count":"1"}"#;
    let changed = told(post(&server, model, update).await);
    assert_eq!(told(server.get(all).await), expected);
    expected["trace_level"] = json!(["TIMESTAMPS"]);
    (expected["trace_rate"], expected["trace_count"]) = ("1".into(), "1".into());
    assert_eq!(changed, expected);

    for _ in 0..3 {
        assert_eq!(server.infer("echo", &[], &json_body(1)).await.status, 200);
    }
    assert_eq!(traces(&folder.path().join("t.json.0"), 1).await[0]["model_name"], "echo");
    assert_eq!(told(server.get(model).await)["trace_count"], "0");
    let clear = r#"{"trace_level":null,"trace_rate":null,"trace_count":null}"#;
    assert_eq!(told(post(&server, model, clear).await), told(server.get(all).await));

    for (path, body, status, part) in [
        (all, r#"{"trace_file":"/x"}"#, 501, "'trace_file' is made where the server is started"),
        (
            all,
            r#"{"trace_rate":"1","trace_level":["ALL"]}"#,
            400,
            "'trace_level': expected OFF alone",
        ),
        (model, r#"{"trace_mode":"opentelemetry"}"#, 501, "model 'echo': setting 'trace_mode'"),
        ("/v2/models/nobody/trace/setting", "{}", 404, "unknown model: 'nobody'"),
    ] {
        assert_error(&post(&server, path, body).await, status, part);
    }
    assert_error(&server.get("/v2/models/nobody/trace/setting").await, 404, "'nobody'");
    assert_eq!(told(server.get(all).await)["trace_rate"], "1000");
}

#[tokio::test]
async fn headers_that_match_are_parameters() {
    let service = Arc::new(ScriptedService::default());
    let pattern = HeaderPattern::parse("^X-My-").unwrap();
    let http = HttpOptions { forward_headers: Some(pattern), ..HttpOptions::default() };
    let app = router(Arc::clone(&service), http);
    let server = Server::with_router(app, service, ListenerOptions::default());
    let body = r#"{"parameters":{"x-my-user":"forged","other":1},
        "inputs":[{"name":"INPUT0","datatype":"FP32","shape":[1],"data":[1]}]}"#;
    let headers = ["X-My-User: real", "x-other: no", "x-my-list: a", "x-my-list: b"];
    assert_eq!(server.infer("echo", &headers, body.as_bytes()).await.status, 200);
    let request = server.service.last.lock().take().unwrap();
    let text = |text: &str| ParameterValue::String(text.into());
    let parameters: Vec<_> = request.parameters.iter().collect();
    let expected = [
        ("x-my-user", &text("real")),
        ("other", &ParameterValue::Int64(1)),
        ("x-my-list", &text("a, b")),
    ];
    assert_eq!(parameters, expected);
}
