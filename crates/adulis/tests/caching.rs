//! The response cache through the real binary: every form of a request shares one entry, and operators see and purge it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::process::Command;

use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::{flatbuffers, grpc as protobuf, rest};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_testing::{IdentityModel, RawResponse, SharedObject, TestRepository, TestServer};
use adulis_types::{InferRequest, InputTensor, ModelRef};
use prost::Message;
use serde_json::{Value, json};
use support::{BINARY, Client, grpc, serve};

const ROW: [u8; 4] = [1, 2, 3, 4];

fn cached(parameters: &[(&str, &str)]) -> TestRepository {
    let model = IdentityModel {
        inputs: &[("UINT8", "4")],
        max_batch_size: 8,
        parameters,
        more: "response_cache { enable: true }",
    };
    let repository = TestRepository::new().unwrap();
    repository.identity("m", &model).unwrap();
    repository
}

fn request(rows: &[[u8; 4]]) -> InferRequest {
    let tensor = Tensor::new(DataType::Uint8, Shape::from([rows.len(), 4]), rows.concat().into()).unwrap();
    let mut request = InferRequest::new(ModelRef::latest("m"));
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    request
}

async fn post(server: &TestServer, headers: &[&str], body: &[u8]) -> RawResponse {
    let mut connection = server.connect().await.unwrap();
    let answer = connection.request("POST /v2/models/m/infer", headers, body).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// How a request came to its answer, by its header, without the age.
fn status(answer: &RawResponse) -> String {
    let told = answer.header("adulis-cache").unwrap();
    let (status, age) = told.split_once("; age=").unwrap();
    assert!(age.parse::<u64>().is_ok(), "{told}");
    status.to_owned()
}

async fn as_json(server: &TestServer, rows: &[[u8; 4]], headers: &[&str]) -> RawResponse {
    let body = json!({"inputs": [{"name": "INPUT0", "datatype": "UINT8", "shape": [rows.len(), 4],
        "data": rows.concat()}]});
    post(server, headers, body.to_string().as_bytes()).await
}

/// The same request in every form over plain HTTP but JSON.
async fn over_http(server: &TestServer) -> Vec<(&'static str, String)> {
    let request = request(&[ROW]);
    let binary = rest::encode_request(&request, true, false);
    let length = format!("inference-header-content-length: {}", binary.header_length.unwrap());
    let binary = post(server, &[&length], &binary.chunks.concat()).await;
    let message = protobuf::encode_request(&request).encode_to_vec();
    let message = post(server, &["content-type: application/x-protobuf"], &message).await;
    let buffer = flatbuffers::encode_request(&request).unwrap().concat();
    let buffer = post(server, &["content-type: application/x-flatbuffers"], &buffer).await;
    let region = SharedObject::new(&ROW).unwrap();
    let register = json!({"key": region.key(), "offset": 0, "byte_size": 4}).to_string();
    let registered = server.post("/v2/systemsharedmemory/region/r/register", &register).await.unwrap();
    assert_eq!(registered.status, 200, "{}", registered.text());
    let place = json!({"shared_memory_region": "r", "shared_memory_byte_size": 4});
    let shared =
        json!({"inputs": [{"name": "INPUT0", "datatype": "UINT8", "shape": [1, 4], "parameters": place}]});
    let shared = post(server, &[], shared.to_string().as_bytes()).await;
    [
        ("binary", binary),
        ("protobuf", message),
        ("FlatBuffers", buffer),
        ("shared memory", shared),
    ]
    .map(|(form, answer)| (form, status(&answer)))
    .into()
}

/// The same over gRPC: what the trailer says, and what the parameters do.
async fn over_grpc(client: &mut Client) -> (String, String) {
    let answer = client.model_infer(protobuf::encode_request(&request(&[ROW]))).await.unwrap();
    let trailer = answer.metadata().get("adulis-cache").unwrap().to_str().unwrap().to_owned();
    let message = answer.into_inner();
    assert_eq!(message.raw_output_contents[0].as_ref(), ROW);
    match &message.parameters["cache"].parameter_choice {
        Some(ParameterChoice::StringParam(status)) => (trailer, status.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_form_shares_one_entry() {
    let repository = cached(&[]);
    let server = serve(&repository, &["--shared-memory"]);
    let client = &mut grpc(server.ready().await).await;
    let first = as_json(&server, &[ROW], &[]).await;
    assert_eq!(status(&first), "miss");
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(body["parameters"], json!({"cache": "miss", "cache_age_seconds": 0}));
    assert_eq!(body["outputs"][0]["data"], json!(ROW));
    for (form, status) in over_http(&server).await {
        assert_eq!(status, "hit", "{form}");
    }
    let (trailer, parameter) = over_grpc(client).await;
    assert!(trailer.starts_with("hit; age=") && parameter == "hit", "{trailer} {parameter}");
    // A row of a batch is the same row.
    let rows = as_json(&server, &[[9; 4], ROW], &[]).await;
    assert_eq!(status(&rows), "miss");
    assert_eq!(server.metric("adulis_executions_total", &["model=\"m\""]).await.unwrap(), 2.0);
    assert_eq!(server.metric("adulis_inference_rows_total", &["model=\"m\""]).await.unwrap(), 2.0);
}

#[tokio::test]
async fn a_client_may_go_around_it_and_an_operator_purge_it() {
    let repository = cached(&[]);
    let server = serve(&repository, &["--cache-ttl", "1h"]);
    server.ready().await;
    let mut seen = Vec::new();
    for headers in [
        &[][..],
        &[],
        &["cache-control: no-store"],
        &["cache-control: no-cache"],
        &[],
    ] {
        seen.push(status(&as_json(&server, &[ROW], headers).await));
    }
    assert_eq!(seen, ["miss", "hit", "bypass", "bypass", "hit"]);
    let url = format!("http://{}", server.address("http").await);
    let command = |arguments: &[&str]| {
        let output =
            Command::new(BINARY).arg("cache").args(arguments).args(["--url", &url]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, told) = command(&["status"]);
    assert!(code == 0 && told.starts_with("memory: 1 answers, "), "{told}");
    let line: Vec<&str> =
        told.lines().find(|line| line.starts_with("m ")).unwrap().split_whitespace().collect();
    let [.., hits, stale, coalesced, misses, bypassed, evicted] = line[..] else {
        panic!("{told}")
    };
    assert_eq!([hits, stale, coalesced, misses, bypassed, evicted], ["2", "0", "0", "1", "2", "0"]);
    assert_eq!(command(&["purge", "m"]), (0, "1 answers forgotten\n".to_owned()));
    assert_eq!(status(&as_json(&server, &[ROW], &[]).await), "miss");
    let (code, told) = command(&["purge", "nobody"]);
    assert!(
        code == 1 && told.contains("model 'nobody' is not there, or has no response cache"),
        "{told}"
    );
    assert_eq!(command(&["purge", "--all"]), (0, "1 answers forgotten\n".to_owned()));
    let off = serve(&repository, &["--cache-memory-bytes", "off"]);
    let answer = as_json(off.ready().await, &[ROW], &[]).await;
    assert!(answer.header("adulis-cache").is_none());
    off.logged(&["the server's response cache is off"]).await;
}

#[tokio::test]
async fn a_stampede_is_one_execution() {
    let repository = cached(&[("execute_delay_ms", "300")]);
    let server = serve(&repository, &[]);
    server.ready().await;
    let mut asking = tokio::task::JoinSet::new();
    let address = server.address("http").await;
    for _ in 0..200 {
        asking.spawn(async move {
            let mut connection = adulis_testing::RawConnection::open(address).await.unwrap();
            let body =
                json!({"inputs": [{"name": "INPUT0", "datatype": "UINT8", "shape": [1, 4], "data": ROW}]});
            let line = "POST /v2/models/m/infer";
            connection.request(line, &[], body.to_string().as_bytes()).await.unwrap().status
        });
    }
    assert!(asking.join_all().await.iter().all(|status| *status == 200));
    let runs = server.metric("adulis_inference_rows_total", &["model=\"m\""]).await.unwrap();
    assert_eq!(runs, 1.0);
}
