//! Bad requests to change settings and to register shared memory.

use std::collections::BTreeMap;

use adulis_protocol::grpc::log_settings_request::setting_value::ParameterChoice;
use adulis_protocol::grpc::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryStatusRequest, CudaSharedMemoryUnregisterRequest,
    LogSettingsRequest, SystemSharedMemoryRegisterRequest, SystemSharedMemoryStatusRequest,
    TraceSettingRequest, log_settings_request, trace_setting_request,
};
use tonic::{Code, Status};

use crate::models_with;
use crate::rows::{Row, all_refused};
use crate::send::good;
use crate::support::grpc;

const LOGGING: &str = "POST /v2/logging";
const TRACE: &str = "POST /v2/trace/setting";
const OF_NOBODY: &str = "POST /v2/models/nobody/trace/setting";
const REGISTER: &str = "POST /v2/systemsharedmemory/region/r/register";

fn logging<'a>(body: &str, says: &'a [&'a str]) -> Row<'a> {
    Row::new(LOGGING, body, says)
}

fn trace<'a>(body: &str, says: &'a [&'a str]) -> Row<'a> {
    Row::new(TRACE, body, says)
}

fn register<'a>(body: &str, says: &'a [&'a str]) -> Row<'a> {
    Row::new(REGISTER, body, says)
}

#[tokio::test]
async fn of_settings() {
    let (server, _repository) = models_with(&[]).await;
    let mut client = grpc(&server).await;
    let deep = format!(r#"{{"log_info":{}}}"#, "[".repeat(1000));
    let rows = [
        logging("[]", &["'['"]),
        logging("{", &["the end"]),
        logging(r#"{"log_info":true} x"#, &["expected the end"]),
        logging(r#"{"log_info":true,"log_info":true}"#, &["duplicate key 'log_info'"]),
        logging(r#"{"log_info":"maybe"}"#, &["'log_info'", "true or false", "maybe"]),
        logging(r#"{"log_info":7}"#, &["'log_info'", "true or false", "7"]),
        logging(&deep, &["within each other"]),
        logging(r#"{"log_verbose_level":-2}"#, &["'log_verbose_level'", "-2"]),
        logging(r#"{"log_verbose_level":1.5}"#, &["'log_verbose_level'", "1.5"]),
        logging(r#"{"log_verbose_level":4294967296}"#, &["'log_verbose_level'", "4294967296"]),
        logging(r#"{"log_format":"xml"}"#, &["'log_format'", "xml"]),
        logging(r#"{"log_colour":true}"#, &["'log_colour'", "log_info"]),
        logging(r#"{"log_file":"/etc/passwd"}"#, &["'log_file'"]).gets(501),
        Row::new("PUT /v2/logging", "{}", &["PUT"]).gets(405),
        trace("[]", &["'['"]),
        trace(r#"{"trace_level":"ALL"}"#, &["'trace_level'", "ALL"]),
        trace(r#"{"trace_level":["OFF","TENSORS"]}"#, &["'trace_level'"]),
        trace(r#"{"trace_level":[1]}"#, &["'trace_level'"]),
        trace(r#"{"trace_rate":"0"}"#, &["'trace_rate'", "0"]),
        trace(r#"{"trace_rate":"often"}"#, &["'trace_rate'", "often"]),
        trace(r#"{"trace_count":-2}"#, &["'trace_count'", "-2"]),
        trace(r#"{"log_frequency":{}}"#, &["'log_frequency'", "an object"]),
        trace(r#"{"trace_mode":"zipkin"}"#, &["'trace_mode'", "zipkin"]),
        trace(r#"{"trace_speed":1}"#, &["'trace_speed'", "trace_level"]),
        trace(r#"{"trace_file":"/etc/passwd"}"#, &["'trace_file'"]).gets(501),
        Row::new("GET /v2/models/nobody/trace/setting", "", &["'nobody'"]).gets(404),
        Row::new(OF_NOBODY, r#"{"trace_rate":"1"}"#, &["'nobody'"]).gets(404),
        Row::new(OF_NOBODY, "{", &["'nobody'", "the end"]),
        Row::new("POST /v2/models/pair/trace/setting", r#"{"trace_rate":"0"}"#, &["'pair'", "'trace_rate'"]),
        Row::new("GET /v2/models/%ff/trace/setting", "", &["UTF-8"]),
        Row::new("PUT /v2/models/pair/trace/setting", "{}", &["PUT"]).gets(405),
    ];
    all_refused(&server, &mut client, &rows).await;
}

#[tokio::test]
async fn of_regions() {
    let (server, _repository) = models_with(&["--shared-memory"]).await;
    let mut client = grpc(&server).await;
    let long = "x".repeat(256);
    let long_key = format!(r#"{{"key":"{long}","byte_size":1}}"#);
    let long_name = format!("POST /v2/systemsharedmemory/region/{long}/register");
    let rows = [
        register("", &["'{'"]),
        register("[]", &["'['"]),
        register(r#"{"byte_size":1}"#, &["missing 'key'"]),
        register(r#"{"key":"/k"}"#, &["missing 'byte_size'"]),
        register(r#"{"key":7,"byte_size":1}"#, &["a string"]),
        register(r#"{"key":"/k","key":"/l","byte_size":1}"#, &["duplicate key 'key'"]),
        register(r#"{"key":"/k","byte_size":-1}"#, &["'byte_size'", "-1"]),
        register(r#"{"key":"/k","byte_size":1e3}"#, &["'byte_size'", "1e3"]),
        register(r#"{"key":"/k","byte_size":1,"offset":-1}"#, &["'offset'", "-1"]),
        register(r#"{"key":"/k","byte_size":0}"#, &["'r'", "byte_size", "1 or more"]),
        register(r#"{"key":"","byte_size":1}"#, &["'r'", "empty"]),
        register(r#"{"key":"/a/b","byte_size":1}"#, &["'r'", "a path"]),
        register(r#"{"key":"..","byte_size":1}"#, &["'r'", "a path"]),
        register(r#"{"key":"a\u0000b","byte_size":1}"#, &["'r'", "control characters"]),
        register(&long_key, &["'r'", "255 bytes"]),
        register(r#"{"key":"/adulis-is-not-there","byte_size":1}"#, &["'r'", "'/adulis-is-not-there'"]),
        Row::new(&long_name, r#"{"key":"/k","byte_size":1}"#, &["255 bytes", "256"]),
        Row::new("GET /v2/systemsharedmemory/region/r/status", "", &["'r'"]).gets(404),
        Row::new("POST /v2/cudasharedmemory/region/r/register", "{}", &["'r'", "GPU"]).gets(501),
        Row::new("GET /v2/cudasharedmemory/region/r/status", "", &["'r'"]).gets(404),
    ];
    all_refused(&server, &mut client, &rows).await;
}

/// What a call over gRPC is refused with: a status, and parts of its message.
fn check(found: &Status, expected: Code, says: &[&str]) {
    assert_eq!(found.code(), expected, "{found}");
    for text in says {
        assert!(found.message().contains(text), "{text:?} is not in: {found}");
    }
}

fn trace_of(model_name: &str, settings: &[(&str, &[&str])]) -> TraceSettingRequest {
    let value = |values: &[&str]| trace_setting_request::SettingValue {
        value: values.iter().map(|&text| text.to_owned()).collect(),
    };
    let settings = settings.iter().map(|&(name, values)| (name.to_owned(), value(values)));
    TraceSettingRequest { model_name: model_name.to_owned(), settings: settings.collect() }
}

#[tokio::test]
async fn of_traces_over_grpc() {
    let (server, _repository) = models_with(&[]).await;
    let mut client = grpc(&server).await;
    let many = ["OFF"; 9];
    let invalid = Code::InvalidArgument;
    let rows: [(TraceSettingRequest, Code, &[&str]); 10] = [
        (trace_of("nobody", &[]), Code::NotFound, &["'nobody'"]),
        (trace_of("nobody", &[("trace_rate", &["1"])]), Code::NotFound, &["'nobody'"]),
        (
            trace_of("nobody", &[("trace_rate", &["0"])]),
            invalid,
            &["'nobody'", "'trace_rate'", "'0'"],
        ),
        (
            trace_of("pair", &[("trace_count", &["-2"])]),
            invalid,
            &["'pair'", "'trace_count'", "'-2'"],
        ),
        (
            trace_of("", &[("trace_level", &["OFF", "TENSORS"])]),
            invalid,
            &["'trace_level'", "TENSORS"],
        ),
        (trace_of("", &[("trace_level", &many)]), invalid, &["values of a setting", "8"]),
        (trace_of("", &[("trace_mode", &["zipkin"])]), invalid, &["'trace_mode'", "zipkin"]),
        (trace_of("", &[("log_frequency", &["1", "2"])]), invalid, &["'log_frequency'", "'1', '2'"]),
        (trace_of("", &[("trace_speed", &["1"])]), invalid, &["'trace_speed'", "trace_level"]),
        (trace_of("", &[("trace_file", &["/etc/passwd"])]), Code::Unimplemented, &["'trace_file'"]),
    ];
    for (message, code, says) in rows {
        check(&client.trace_setting(message).await.unwrap_err(), code, says);
        good(&server, &mut client).await;
    }
}

#[tokio::test]
async fn of_the_log_over_grpc() {
    let (server, _repository) = models_with(&[]).await;
    let mut client = grpc(&server).await;
    let text = |text: &str| ParameterChoice::StringParam(text.to_owned());
    let rows: [(&str, ParameterChoice, Code, &[&str]); 5] = [
        (
            "log_info",
            text("maybe"),
            Code::InvalidArgument,
            &["'log_info'", "true or false", "maybe"],
        ),
        ("log_verbose_level", ParameterChoice::BoolParam(true), Code::InvalidArgument, &["true"]),
        ("log_format", text("xml"), Code::InvalidArgument, &["'log_format'", "xml"]),
        ("log_colour", text("red"), Code::InvalidArgument, &["'log_colour'", "log_info"]),
        ("log_file", text("/etc/passwd"), Code::Unimplemented, &["'log_file'"]),
    ];
    for (name, choice, code, says) in rows {
        let value = log_settings_request::SettingValue { parameter_choice: Some(choice) };
        let message = LogSettingsRequest { settings: BTreeMap::from([(name.to_owned(), value)]) };
        check(&client.log_settings(message).await.unwrap_err(), code, says);
        good(&server, &mut client).await;
    }
}

#[tokio::test]
async fn of_regions_over_grpc() {
    let (server, _repository) = models_with(&["--shared-memory"]).await;
    let mut client = grpc(&server).await;
    let region = |key: &str, byte_size| SystemSharedMemoryRegisterRequest {
        name: "r".to_owned(),
        key: key.to_owned(),
        offset: 0,
        byte_size,
    };
    let rows: [(SystemSharedMemoryRegisterRequest, &[&str]); 4] = [
        (region("", 1), &["'r'", "empty"]),
        (region("/a/b", 1), &["'r'", "a path"]),
        (region("/k", 0), &["'r'", "byte_size", "1 or more"]),
        (region("/adulis-is-not-there", 1), &["'r'", "'/adulis-is-not-there'"]),
    ];
    for (message, says) in rows {
        let refused = client.system_shared_memory_register(message).await.unwrap_err();
        check(&refused, Code::InvalidArgument, says);
        good(&server, &mut client).await;
    }
    let named = SystemSharedMemoryStatusRequest { name: "r".to_owned() };
    let refused = client.system_shared_memory_status(named).await.unwrap_err();
    check(&refused, Code::NotFound, &["shared memory region", "'r'"]);
    good(&server, &mut client).await;
}

/// There is no GPU's memory here, and nobody is led to believe so.
#[tokio::test]
async fn of_cuda_regions_over_grpc() {
    let (server, _repository) = models_with(&["--shared-memory"]).await;
    let mut client = grpc(&server).await;
    for (raw_handle, device_id, byte_size) in [(vec![7; 64], 0, 64), (vec![], -1, u64::MAX)] {
        let raw_handle = raw_handle.into();
        let name = "r".to_owned();
        let message = CudaSharedMemoryRegisterRequest { name, raw_handle, device_id, byte_size };
        let refused = client.cuda_shared_memory_register(message).await.unwrap_err();
        check(&refused, Code::Unimplemented, &["cuda", "'r'", "GPU"]);
        good(&server, &mut client).await;
    }
    let status = |name: &str| CudaSharedMemoryStatusRequest { name: name.to_owned() };
    let refused = client.cuda_shared_memory_status(status("r")).await.unwrap_err();
    check(&refused, Code::NotFound, &["cuda", "'r'"]);
    good(&server, &mut client).await;
    let all = client.cuda_shared_memory_status(status("")).await.unwrap().into_inner();
    assert!(all.regions.is_empty(), "{all:?}");
    for name in ["r", ""] {
        let message = CudaSharedMemoryUnregisterRequest { name: name.to_owned() };
        client.cuda_shared_memory_unregister(message).await.unwrap();
    }
    good(&server, &mut client).await;
}
