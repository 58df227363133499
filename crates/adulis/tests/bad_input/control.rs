//! Bad requests to change settings and to register shared memory.

use crate::models_with;
use crate::rows::{Row, all_refused};
use crate::support::grpc;

const LOGGING: &str = "POST /v2/logging";
const TRACE: &str = "POST /v2/trace/setting";
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
