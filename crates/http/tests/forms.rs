//! Inferences in every form that a body may have, over the wire: what goes in, what comes out, what is refused.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use adulis_http::{HttpOptions, ListenerOptions};
use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::model_infer_request::InferInputTensor;
use adulis_protocol::grpc::{InferParameter, ModelInferRequest, ModelInferResponse};
use adulis_protocol::{flatbuffers, model_ref};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferRequest, InputTensor, ParameterValue};
use bytes::Bytes;
use prost::Message;
use support::{Server, assert_error, binary_body, gunzip, gzip, json_body, tensor};

const PROTOBUF: &str = "content-type: application/x-protobuf";
const FLATBUFFERS: &str = "content-type: application/x-flatbuffers";

fn protobuf_body(count: usize) -> Vec<u8> {
    let shape = vec![1, i64::try_from(count).unwrap()];
    let input = InferInputTensor {
        name: "INPUT0".into(),
        datatype: "FP32".into(),
        shape,
        ..InferInputTensor::default()
    };
    let message = ModelInferRequest {
        id: "7".into(),
        inputs: vec![input],
        raw_input_contents: vec![tensor(count).into()],
        ..ModelInferRequest::default()
    };
    message.encode_to_vec()
}

fn flatbuffers_body(count: usize) -> Vec<u8> {
    let mut request = InferRequest::new(model_ref("", None).unwrap());
    let tensor = Tensor::new(DataType::Fp32, Shape::from([1, count]), tensor(count).into()).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    flatbuffers::encode_request(&request).unwrap().concat()
}

fn check_flatbuffers(body: &[u8], count: usize) {
    let response = flatbuffers::decode_response(&Bytes::copy_from_slice(body)).unwrap();
    assert_eq!((&*response.model_name, response.model_version), ("echo", 1));
    assert_eq!(response.outputs[0].tensor.data(), &tensor(count));
}

fn check_protobuf(body: &[u8], count: usize) {
    let message = ModelInferResponse::decode(body).unwrap();
    assert_eq!((message.model_name.as_str(), message.model_version.as_str()), ("echo", "1"));
    assert_eq!(message.outputs[0].name, "INPUT0");
    assert_eq!(message.raw_output_contents, [tensor(count)]);
}

#[tokio::test]
async fn protobuf_in_and_out() {
    let server = Server::default().await;
    for content_type in [PROTOBUF, "Content-Type: application/protobuf"] {
        for count in [16, 300_000] {
            let response = server.infer("echo/versions/1", &[content_type], &protobuf_body(count)).await;
            assert_eq!(response.status, 200, "{}", response.text());
            assert_eq!(response.header("content-type"), Some("application/x-protobuf"));
            assert_eq!(response.header("inference-header-content-length"), None);
            check_protobuf(&response.body, count);
        }
    }
    assert_eq!(server.service.last.lock().as_ref().unwrap().id, "7");
}

#[tokio::test]
async fn flatbuffers_in_and_out() {
    let server = Server::default().await;
    for content_type in [FLATBUFFERS, "Content-Type: application/flatbuffers"] {
        for count in [16, 300_000] {
            let response = server.infer("echo/versions/1", &[content_type], &flatbuffers_body(count)).await;
            assert_eq!(response.status, 200, "{}", response.text());
            assert_eq!(response.header("content-type"), Some("application/x-flatbuffers"));
            check_flatbuffers(&response.body, count);
        }
    }
    let last = server.service.last.lock().take().unwrap();
    assert_eq!(last.inputs[0].tensor.data().as_ptr().addr() % 64, 0, "a large tensor arrives aligned");
}

#[tokio::test]
async fn accept_chooses_the_form_of_the_answer() {
    let server = Server::default().await;
    let json = server.infer("echo", &[PROTOBUF, "accept: application/json"], &protobuf_body(4)).await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(body["outputs"][0]["data"][3].as_f64(), Some(3.0));

    let protobuf = server.infer("echo", &["accept: application/x-protobuf"], &json_body(4)).await;
    assert_eq!(protobuf.header("content-type"), Some("application/x-protobuf"));
    check_protobuf(&protobuf.body, 4);

    let headers = [PROTOBUF, "accept: application/x-flatbuffers"];
    let flatbuffers = server.infer("echo", &headers, &protobuf_body(4)).await;
    assert_eq!(flatbuffers.header("content-type"), Some("application/x-flatbuffers"));
    check_flatbuffers(&flatbuffers.body, 4);

    // What a client sends of itself changes nothing.
    let (body, header) = binary_body(4);
    let header = format!("inference-header-content-length: {header}");
    let binary = server.infer("echo", &[&header, "accept: application/json, */*"], &body).await;
    assert_eq!(binary.header("content-type"), Some("application/octet-stream"));
}

/// A request of two values that JSON has no numbers for, with the parameters: as JSON, Protocol Buffers and FlatBuffers.
fn not_finite(parameters: &[(&str, &str)]) -> [(&'static str, Vec<u8>); 3] {
    let data = [f32::NAN, f32::NEG_INFINITY].map(f32::to_le_bytes).concat();
    let json = serde_json::json!({
        "parameters": parameters.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1, 2], "data": ["NaN", "-Infinity"]}],
    });
    let mut message = ModelInferRequest::decode(&protobuf_body(2)[..]).unwrap();
    message.raw_input_contents = vec![data.clone().into()];
    let mut request = InferRequest::new(model_ref("", None).unwrap());
    let tensor = Tensor::new(DataType::Fp32, Shape::from([1, 2]), data.into()).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    for &(name, value) in parameters {
        let choice = Some(ParameterChoice::StringParam(value.into()));
        message.parameters.insert(name.into(), InferParameter { parameter_choice: choice });
        request.parameters.set(name, ParameterValue::String(value.into()));
    }
    let buffer = flatbuffers::encode_request(&request).unwrap().concat();
    [
        ("content-type: application/json", json.to_string().into_bytes()),
        (PROTOBUF, message.encode_to_vec()),
        (FLATBUFFERS, buffer),
    ]
}

#[tokio::test]
async fn nan_and_infinities_are_written_as_wished_whatever_the_request_is_written_in() {
    let server = Server::default().await;
    let json = "accept: application/json";
    for (parameters, data) in [
        (&[][..], r#""data":["NaN","-Infinity"]"#),
        (&[("non_finite", "string")], r#""data":["NaN","-Infinity"]"#),
        (&[("non_finite", "literal")], r#""data":[NaN,-Infinity]"#),
        (&[("non_finite", "null")], r#""data":[null,null]"#),
    ] {
        for (content_type, body) in not_finite(parameters) {
            let answer = server.infer("echo", &[content_type, json], &body).await;
            assert_eq!(answer.status, 200, "{content_type} {parameters:?}: {}", answer.text());
            assert!(answer.text().contains(data), "{content_type} {parameters:?}: {}", answer.text());
        }
    }
    for (content_type, body) in not_finite(&[("non_finite", "nan")]) {
        let answer = server.infer("echo", &[content_type, json], &body).await;
        assert_error(
            &answer,
            400,
            "parameter 'non_finite': expected 'string', 'literal' or 'null', got 'nan'",
        );
    }
}

#[tokio::test]
async fn every_form_is_limited_and_compressed_alike() {
    let options = HttpOptions { max_body_bytes: 100_000, ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    for (content_type, body) in [
        (PROTOBUF, protobuf_body(20_000)),
        (FLATBUFFERS, flatbuffers_body(20_000)),
    ] {
        let headers = [content_type, "content-encoding: gzip", "accept-encoding: gzip"];
        let response = server.infer("echo", &headers, &gzip(&body)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert!(gunzip(&response.body).len() > 80_000);
    }
    for (content_type, body) in [
        (PROTOBUF, protobuf_body(40_000)),
        (FLATBUFFERS, flatbuffers_body(40_000)),
    ] {
        assert_error(&server.infer("echo", &[content_type], &body).await, 413, "100000 bytes");
        let headers = [content_type, "content-encoding: gzip"];
        assert_error(&server.infer("echo", &headers, &gzip(&body)).await, 413, "decompressed");
    }
}

#[tokio::test]
async fn errors_are_json_in_every_form() {
    let server = Server::default().await;
    for (content_type, body, part) in [
        (PROTOBUF, &b"{}"[..], "model 'echo': invalid message"),
        (PROTOBUF, &[0x0a, 0x01, b'x'], "the body names another model: 'x'"),
        (FLATBUFFERS, b"{}", "model 'echo': invalid message: its file identifier"),
        (FLATBUFFERS, b"", "model 'echo': invalid message: its file identifier"),
    ] {
        assert_error(&server.infer("echo", &[content_type], body).await, 400, part);
    }
    let headers = [PROTOBUF, "x-request-timeout-ms: 20"];
    assert_error(&server.infer("slow", &headers, &protobuf_body(1)).await, 504, "'slow'");
    assert_error(&server.infer("nobody", &[PROTOBUF], &protobuf_body(1)).await, 404, "nobody");
    let response = server.infer("fail-overloaded", &[PROTOBUF], &protobuf_body(1)).await;
    assert_error(&response, 503, "asked to fail");
    assert_eq!(response.header("retry-after"), Some("2"));
}
