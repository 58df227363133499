//! Model files, good ones and damaged ones side by side, in the engine that needs no library.

use std::path::PathBuf;

use adulis_protocol::grpc::model_infer_request::InferInputTensor;
use adulis_protocol::grpc::{ModelInferRequest, ModelReadyRequest};
use adulis_testing::{TestRepository, TestServer};
use serde_json::Value;
use tonic::Code;

use crate::support::{BINARY, grpc, serve};

pub(crate) fn digits(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits").join(file)
}

pub(crate) fn scan_of_a_seven() -> String {
    std::fs::read_to_string(digits("request.json")).unwrap()
}

fn best(scores: impl IntoIterator<Item = f64>) -> Option<usize> {
    scores.into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
}

/// The class with the highest score in the first output of a REST answer.
pub(crate) fn best_class(answer: &str) -> Option<usize> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    best(
        answer["outputs"][0]["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|score| score.as_f64().unwrap()),
    )
}

/// The same request as Protocol Buffers.
fn message(model: &str) -> ModelInferRequest {
    let request: Value = serde_json::from_str(&scan_of_a_seven()).unwrap();
    let input = &request["inputs"][0];
    let shape = input["shape"].as_array().unwrap().iter().map(|dimension| dimension.as_i64().unwrap());
    let pixels = input["data"].as_array().unwrap().iter().map(|pixel| pixel.as_i64().unwrap());
    let bytes: Vec<u8> =
        pixels.flat_map(|pixel| f32::from(i16::try_from(pixel).unwrap()).to_le_bytes()).collect();
    ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![InferInputTensor {
            name: input["name"].as_str().unwrap().to_owned(),
            datatype: "FP32".to_owned(),
            shape: shape.collect(),
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![bytes.into()],
        ..ModelInferRequest::default()
    }
}

async fn classifies_the_seven(server: &TestServer, model: &str) {
    let answer = server.infer(model, &[], &scan_of_a_seven()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(best_class(&answer.text()), Some(7), "{}", answer.text());
    let answer = grpc(server).await.model_infer(message(model)).await.unwrap().into_inner();
    let scores = answer.raw_output_contents[0].chunks_exact(4);
    let scores = scores.map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())));
    assert_eq!(best(scores), Some(7));
}

#[tokio::test]
async fn a_bare_file_is_served() {
    let file = digits("1/model.onnx");
    let server = TestServer::start(BINARY, &[file.to_str().unwrap(), "--engine", "tract"]).unwrap();
    server.ready().await;
    let loaded: Value = serde_json::from_str(&server.logged(&["\"loaded\""]).await).unwrap();
    classifies_the_seven(&server, loaded["model"].as_str().unwrap()).await;
}

/// A good model beside a corrupt one, a truncated one and one that is no ONNX at all.
fn damaged() -> TestRepository {
    let repository = TestRepository::new().unwrap();
    let good = std::fs::read(digits("1/model.onnx")).unwrap();
    repository.onnx("good", &good).unwrap();
    repository.onnx("truncated", &good[..good.len() / 2]).unwrap();
    let mut corrupt = good;
    for byte in corrupt.iter_mut().step_by(7) {
        *byte ^= 0xa5;
    }
    repository.onnx("corrupt", &corrupt).unwrap();
    repository.onnx("prose", b"This is no model, it only looks so by its name.\n").unwrap();
    repository.onnx("empty", b"").unwrap();
    repository
}

const BAD: [&str; 4] = ["truncated", "corrupt", "prose", "empty"];

#[tokio::test]
async fn damaged_models_are_not_ready_and_say_why() {
    let repository = damaged();
    let server = serve(&repository, &["--engine", "tract"]);
    server.logged(&["not ready: see the models"]).await;
    let mut client = grpc(&server).await;
    for model in BAD {
        let named = format!("\"model\":\"{model}\"");
        server.logged(&["ERROR", &named, "\"reason\":\"failed to load"]).await;

        let ready = server.get(&format!("/v2/models/{model}/ready")).await.unwrap();
        assert_eq!(ready.status, 503, "{model}: {}", ready.text());
        let answer = server.infer(model, &[], &scan_of_a_seven()).await.unwrap();
        assert_eq!(answer.status, 503, "{model}: {}", answer.text());
        let start = format!("model '{model}' is not ready: failed to load: ");
        assert!(answer.text().contains(&start), "{}", answer.text());

        let request = ModelReadyRequest { name: model.to_owned(), version: String::new() };
        assert!(!client.model_ready(request).await.unwrap().get_ref().ready, "{model}");
        let status = client.model_infer(message(model)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{model}: {status}");
        assert!(status.message().starts_with(&start), "{status}");
    }
    classifies_the_seven(&server, "good").await;
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(ready.status, 503, "one failed model makes the server not ready: {}", ready.text());
}

#[tokio::test]
async fn readiness_can_leave_failed_models_out() {
    let repository = damaged();
    let server = serve(&repository, &["--engine", "tract", "--set", "strict_readiness=false"]);
    server.ready().await;
    classifies_the_seven(&server, "good").await;
}
