//! Traces of calls, and metadata that become parameters.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adulis_grpc::GrpcOptions;
use adulis_protocol::HeaderPattern;
use adulis_protocol::grpc::TraceSettingRequest;
use adulis_protocol::grpc::trace_setting_request::SettingValue;
use adulis_telemetry::{MetricRegistry, TraceOptions, Tracer};
use adulis_testing::ScriptedService;
use adulis_types::{ParameterValue, Services, TraceLevels};
use serde_json::Value;
use support::{Client, Server, message};
use tempfile::TempDir;
use tonic::{Code, Request, Status};

fn tracing() -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = TraceOptions {
        file: folder.path().join("t.json"),
        levels: TraceLevels { timestamps: true, tensors: false },
        rate: 1,
        count: None,
        log_frequency: 1,
    };
    let service = Arc::new(ScriptedService::default());
    let tracer = Arc::new(Tracer::new(options, &MetricRegistry::default()));
    let services = Services { trace: Some(tracer), ..Services::from(Arc::clone(&service)) };
    (Server::serving(services, service, GrpcOptions::default()), folder)
}

/// Names of the moments in a file of one trace, in their order.
async fn moments(path: &Path) -> Vec<String> {
    for _ in 0..1000 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let objects: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
        if !objects.is_empty() {
            let moments = objects.iter().filter_map(|object| object.get("timestamps")?.get(0)?.get("name"));
            return moments.map(|name| name.as_str().unwrap().to_owned()).collect();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Vec::new()
}

const HANDLED: [&str; 8] = [
    "REQUEST_START",
    "QUEUE_START",
    "COMPUTE_START",
    "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START",
    "COMPUTE_END",
    "INFER_RESPONSE_COMPLETE",
    "REQUEST_END",
];
const READ: [&str; 2] = ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END"];
const SENT: [&str; 2] = ["GRPC_SEND_START", "GRPC_SEND_END"];

#[tokio::test]
async fn calls_and_streams_are_traced() {
    let (server, folder) = tracing();
    let client = &mut server.client().await;
    client.model_infer(message("echo", "r1", &[1.0])).await.unwrap();
    let unary = moments(&folder.path().join("t.json.0")).await;
    assert_eq!(unary, [&READ[..], &HANDLED, &SENT].concat());

    let requests = tokio_stream::once(message("echo", "r2", &[1.0]));
    let mut answers = client.model_stream_infer(requests).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let streamed = moments(&folder.path().join("t.json.1")).await;
    assert_eq!(streamed, [&READ[..], &HANDLED, &SENT].concat());

    assert_eq!(
        client.model_infer(message("fail-internal", "", &[1.0])).await.unwrap_err().code(),
        Code::Internal
    );
    let failed = moments(&folder.path().join("t.json.2")).await;
    assert_eq!(failed, [&READ[..], &["REQUEST_START", "REQUEST_END"]].concat());
}

async fn change(
    client: &mut Client,
    model: &str,
    changes: &[(&str, &[&str])],
) -> Result<Vec<(String, Vec<String>)>, Status> {
    let setting = |(name, values): &(&str, &[&str])| {
        let value = values.iter().map(|value| (*value).to_owned()).collect();
        ((*name).to_owned(), SettingValue { value })
    };
    let request =
        TraceSettingRequest { settings: changes.iter().map(setting).collect(), model_name: model.to_owned() };
    let settings = client.trace_setting(request).await?.into_inner().settings;
    Ok(settings.into_iter().map(|(name, values)| (name, values.value)).collect())
}

#[tokio::test]
async fn settings_are_seen_and_changed() {
    let (server, folder) = tracing();
    let client = &mut server.client().await;
    let file = folder.path().join("t.json").to_str().unwrap().to_owned();
    let expected = |levels: &[&str], rate: &str| -> Vec<(String, Vec<String>)> {
        [
            ("log_frequency", &["1"][..]),
            ("trace_count", &["-1"]),
            ("trace_file", &[&file]),
            ("trace_level", levels),
            ("trace_mode", &["triton"]),
            ("trace_rate", &[rate]),
        ]
        .map(|(name, values)| (name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect()))
        .into()
    };
    assert_eq!(change(client, "", &[]).await.unwrap(), expected(&["TIMESTAMPS"], "1"));
    let both: [(&str, &[&str]); 2] = [
        ("trace_level", &["TENSORS", "TIMESTAMPS"]),
        ("trace_rate", &["9"]),
    ];
    let changed = change(client, "echo", &both).await.unwrap();
    assert_eq!(changed, expected(&["TIMESTAMPS", "TENSORS"], "9"));
    assert_eq!(change(client, "", &[]).await.unwrap(), expected(&["TIMESTAMPS"], "1"));
    let cleared = change(client, "echo", &[("trace_level", &[]), ("trace_rate", &[])]).await.unwrap();
    assert_eq!(cleared, expected(&["TIMESTAMPS"], "1"));
    for (model, name, value, code) in [
        ("", "trace_file", "/x", Code::Unimplemented),
        ("", "trace_level", "MAX", Code::InvalidArgument),
        ("", "trace_rates", "1", Code::InvalidArgument),
        ("nobody", "trace_rate", "1", Code::NotFound),
    ] {
        assert_eq!(change(client, model, &[(name, &[value])]).await.unwrap_err().code(), code, "{name}");
    }
}

#[tokio::test]
async fn metadata_that_match_are_parameters() {
    let service = Arc::new(ScriptedService::default());
    let pattern = HeaderPattern::parse("^my_").unwrap();
    let options = GrpcOptions { forward_metadata: Some(pattern), ..GrpcOptions::default() };
    let server = Server::serving(Arc::clone(&service).into(), service, options);
    let client = &mut server.client().await;
    let with_metadata = |mut request: Request<()>| {
        let metadata = request.metadata_mut();
        metadata.insert("my_user", "u".parse().unwrap());
        metadata.insert("other", "o".parse().unwrap());
        metadata.insert_bin("my_data-bin", tonic::metadata::MetadataValue::from_bytes(b"b"));
        request.metadata().clone()
    };
    let metadata = with_metadata(Request::new(()));
    let mut unary = Request::new(message("echo", "", &[1.0]));
    *unary.metadata_mut() = metadata.clone();
    client.model_infer(unary).await.unwrap();
    let mut stream = Request::new(tokio_stream::once(message("echo", "", &[1.0])));
    *stream.metadata_mut() = metadata;
    let taken = server.service.last.lock().take().unwrap();
    let mut answers = client.model_stream_infer(stream).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    for request in [taken, server.service.last.lock().take().unwrap()] {
        let parameters: Vec<_> = request.parameters.iter().collect();
        assert_eq!(parameters, [("my_user", &ParameterValue::String("u".into()))]);
    }
}
