//! Bad requests to load, unload and list models, over REST and gRPC.

use std::collections::BTreeMap;

use adulis_protocol::grpc::model_repository_parameter::ParameterChoice;
use adulis_protocol::grpc::{
    ModelRepositoryParameter, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
};
use serde_json::json;
use tonic::Code;

use crate::models_with;
use crate::rows::{Row, all_refused};
use crate::send::good;
use crate::support::grpc;

const LOAD: &str = "POST /v2/repository/models/pair/load";
const UNLOAD: &str = "POST /v2/repository/models/pair/unload";
const INDEX: &str = "POST /v2/repository/index";

/// Bytes of files that may travel in requests, in all; longest body of such a request.
const LIMITS: [&str; 6] = [
    "--model-control-mode=explicit",
    "--load-model=*",
    "--set",
    "engine.max_override_bytes=64",
    "--set",
    "server.max_load_bytes=4096",
];

/// A load with these parameters.
fn load(parameters: &[(&str, &str)]) -> String {
    let parameters: serde_json::Map<_, _> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({ "parameters": parameters }).to_string()
}

fn to_load<'a>(body: &str, says: &'a [&'a str]) -> Row<'a> {
    Row::new(LOAD, body, says)
}

#[tokio::test]
async fn over_rest() {
    let (server, _repository) = models_with(&LIMITS).await;
    let mut client = grpc(&server).await;
    let identity = r#"{"backend":"identity"}"#;
    let with = |path: &str, contents: &str| load(&[("config", identity), (path, contents)]);
    let deep = format!(r#"{{"parameters":{}}}"#, r#"{"config":"#.repeat(300));
    let deep_config = format!(r#"{{"input":{}"#, "[".repeat(1000));
    let named = format!(r#"{{"name":"other",{}"#, &identity[1..]);
    let long = vec![b' '; 5000];
    let rows = [
        to_load("[]", &["'pair'", "'['"]),
        to_load("{", &["'pair'", "the end"]),
        to_load("7 {}", &["'pair'"]),
        to_load(r#"{"parameters":[]}"#, &["'pair'", "'['"]),
        to_load(r#"{"parameters":{},"parameters":{}}"#, &["'pair'", "duplicate key"]),
        to_load(r#"{"parameters":{"config":7}}"#, &["'pair'", "a string"]),
        to_load(r#"{"parameters":{"config":"{}","config":"{}"}}"#, &["'pair'", "'config'"]),
        to_load(&deep, &["'pair'"]),
        to_load(&load(&[("config", "{")]), &["pair"]),
        to_load(&load(&[("config", "[]")]), &["pair"]),
        to_load(&load(&[("config", &deep_config)]), &["pair"]),
        to_load(&load(&[("config", r#"{"max_batch":1}"#)]), &["pair", "max_batch: unknown key"]),
        to_load(&load(&[("config", r#"{"max_batch_size":-1}"#)]), &["pair", "max_batch_size", "-1"]),
        to_load(&load(&[("config", &named)]), &["pair", "other"]),
        to_load(&load(&[("config", r#"{"backend":"magic"}"#)]), &["pair", "magic"]),
        to_load(&load(&[("speed", "full")]), &["'pair'", "'speed'", "'config'"]),
        to_load(&load(&[("file:1/model.bin", "AAAA")]), &["'pair'", "file:1/model.bin", "'config'"]),
        to_load(&with("file:1/x", "*"), &["'pair'", "file:1/x", "base64", "byte 0"]),
        to_load(&with("file:1/x", "AAA"), &["'pair'", "file:1/x", "base64"]),
        to_load(&with("file:../x", "AAAA"), &["pair", "../x"]),
        to_load(&with("file:/etc/x", "AAAA"), &["pair", "/etc/x"]),
        to_load(&with("file:1/../../x", "AAAA"), &["pair", "1/../../x"]),
        to_load(&with("file:", "AAAA"), &["pair"]),
        to_load(&with("file:a\\b", "AAAA"), &["pair", "a\\\\b"]),
        to_load(&with("file:1/x", &"AAAA".repeat(30)), &["pair", "90 bytes", "64"]),
        Row::new(LOAD, long, &["4096"]).gets(413),
        Row::new("POST /v2/repository/models/nobody/load", "", &["'nobody'"]),
        Row::new("POST /v2/repository/models/..%2f..%2fetc/load", "", &["../../etc"]),
        Row::new("POST /v2/repository/elsewhere/models/pair/load", "", &["'elsewhere'"]).gets(501),
        Row::new("GET /v2/repository/models/pair/load", "", &["GET"]).gets(405),
        Row::new(UNLOAD, "[]", &["'pair'", "'['"]),
        Row::new(UNLOAD, r#"{"parameters":{"unload_dependents":"yes"}}"#, &["'pair'", "unload_dependents"]),
        Row::new(UNLOAD, r#"{"parameters":{"force":true}}"#, &["'pair'", "'force'"]),
        Row::new(INDEX, r#"{"ready":1}"#, &["'ready'", "true or false"]),
        Row::new(INDEX, r#"{"ready":true,"ready":true}"#, &["'ready'"]),
        Row::new(INDEX, "[1]", &["'['"]),
    ];
    all_refused(&server, &mut client, &rows).await;
}

type Parameters = BTreeMap<String, ModelRepositoryParameter>;

fn parameters(list: &[(&str, ParameterChoice)]) -> Parameters {
    let one = |(name, choice): &(&str, ParameterChoice)| {
        ((*name).to_owned(), ModelRepositoryParameter { parameter_choice: Some(choice.clone()) })
    };
    list.iter().map(one).collect()
}

#[tokio::test]
async fn over_grpc() {
    let (server, _repository) = models_with(&LIMITS).await;
    let mut client = grpc(&server).await;
    let text = |text: &str| ParameterChoice::StringParam(text.to_owned());
    let file = |bytes: usize| ParameterChoice::BytesParam(vec![0; bytes].into());
    let config = || ("config", text(r#"{"backend":"identity"}"#));
    let loads: [(&str, Parameters, Code, &[&str]); 9] = [
        ("pair", parameters(&[("config", file(1))]), Code::InvalidArgument, &["'pair'", "'config'"]),
        ("pair", parameters(&[("config", text("{"))]), Code::InvalidArgument, &["pair"]),
        (
            "pair",
            parameters(&[("speed", text("full"))]),
            Code::InvalidArgument,
            &["'pair'", "'speed'"],
        ),
        (
            "pair",
            parameters(&[("file:1/x", file(3))]),
            Code::InvalidArgument,
            &["'pair'", "file:1/x"],
        ),
        (
            "pair",
            parameters(&[config(), ("file:1/x", text("a"))]),
            Code::InvalidArgument,
            &["file:1/x"],
        ),
        ("pair", parameters(&[config(), ("file:../x", file(3))]), Code::InvalidArgument, &["../x"]),
        (
            "pair",
            parameters(&[config(), ("file:1/x", file(90))]),
            Code::InvalidArgument,
            &["90 bytes", "64"],
        ),
        ("nobody", parameters(&[]), Code::InvalidArgument, &["'nobody'"]),
        ("", parameters(&[]), Code::InvalidArgument, &[]),
    ];
    let mut wrong = Vec::new();
    for (model_name, parameters, code, says) in loads {
        let repository_name = String::new();
        let request =
            RepositoryModelLoadRequest { repository_name, model_name: model_name.to_owned(), parameters };
        let told = format!("{:?}", request.parameters);
        let status = client.repository_model_load(request).await.unwrap_err();
        if status.code() != code || !says.iter().all(|text| status.message().contains(text)) {
            wrong.push(format!("{model_name} {told}: expected {code:?} {says:?}, was told: {status}"));
        }
        good(&server, &mut client).await;
    }
    let force = parameters(&[("force", ParameterChoice::BoolParam(true))]);
    let request = RepositoryModelUnloadRequest {
        model_name: "pair".to_owned(),
        parameters: force,
        ..RepositoryModelUnloadRequest::default()
    };
    let status = client.repository_model_unload(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    good(&server, &mut client).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
