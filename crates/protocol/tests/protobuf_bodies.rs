//! Protocol Buffers messages as bodies of plain HTTP requests: what is taken, what is refused and why, what is copied.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

use adulis_protocol::grpc::model_infer_request::InferInputTensor;
use adulis_protocol::grpc::{self, InferParameter, ModelInferRequest};
use adulis_protocol::model_ref;
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferResponse, ModelRef, Name, OutputTensor, Parameters, StageTimings};
use bytes::Bytes;
use prost::Message;

/// 3,000 values of FP32, named `A`.
fn message() -> ModelInferRequest {
    ModelInferRequest {
        inputs: vec![InferInputTensor {
            name: "A".into(),
            datatype: "FP32".into(),
            shape: vec![1, 3000],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![vec![0; 12_000].into()],
        ..ModelInferRequest::default()
    }
}

fn asked_of(version: Option<u64>) -> ModelRef {
    ModelRef { version, ..model_ref("m", None).unwrap() }
}

fn refusal(version: Option<u64>, message: &ModelInferRequest) -> String {
    grpc::decode_body(asked_of(version), message.encode_to_vec().into())
        .unwrap_err()
        .to_string()
}

#[test]
fn raw_contents_are_slices_of_the_body() {
    let body = Bytes::from(message().encode_to_vec());
    let request = grpc::decode_body(asked_of(None), body.clone()).unwrap().request;
    let data = request.inputs[0].tensor.data();
    assert!(body.as_ptr_range().contains(&data.as_ptr()));
    assert_eq!(data.len(), 12_000);
}

#[test]
fn the_path_names_the_model() {
    let decode = |version, message: ModelInferRequest| {
        let request = grpc::decode_body(asked_of(version), message.encode_to_vec().into()).unwrap().request;
        (request.model.name.to_string(), request.model.version)
    };
    let named = |name: &str, version: &str| ModelInferRequest {
        model_name: name.into(),
        model_version: version.into(),
        ..message()
    };
    assert_eq!(decode(Some(2), message()), ("m".into(), Some(2)));
    assert_eq!(decode(Some(2), named("m", "2")), ("m".into(), Some(2)));
    assert_eq!(decode(None, named("m", "3")), ("m".into(), Some(3)));
    assert_eq!(decode(None, named("", "3")), ("m".into(), Some(3)));

    assert_eq!(refusal(None, &named("other", "")), "model 'm': the body names another model: 'other'");
    assert_eq!(
        refusal(Some(1), &named("m", "2")),
        "model 'm': the path names version 1, the body version 2"
    );
    assert_eq!(
        refusal(None, &named("m", "new")),
        "model 'm': expected a version number of 1 or more, got 'new'"
    );
}

#[test]
fn what_is_wrong_is_told() {
    let mut short = message();
    short.raw_input_contents[0] = vec![0; 11_999].into();
    assert_eq!(
        refusal(None, &short),
        "model 'm': input 'A': expected 12000 bytes for FP32 [1,3000], got 11999"
    );
    let mut many = message();
    many.inputs = vec![InferInputTensor::default(); 1025];
    assert_eq!(refusal(None, &many), "model 'm': too many inputs: at most 1024 are taken");
    let mut parameters = message();
    let named = |index: usize| (format!("p{index}"), InferParameter::default());
    parameters.parameters = (0..65).map(named).collect();
    assert_eq!(refusal(None, &parameters), "model 'm': too many parameters: at most 64 are taken");
    // Neither a message nor its beginning, and a message of another kind.
    for (body, part) in [
        (&b"{\"inputs\":[]}"[..], "model 'm': invalid message: "),
        (&[0x0a, 0x04, b'a'], "model 'm': invalid message: a field that is cut short"),
        (&[0x0a, 0x01, 0xff], "not UTF-8"),
        (&[0x08, 0x01], "invalid wire type"),
    ] {
        let error = grpc::decode_body(asked_of(None), Bytes::from_static(body)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn large_outputs_are_pieces_of_the_answer() {
    let output = |name: &str, count: usize| {
        let tensor = Tensor::new(DataType::Uint8, Shape::from([count]), vec![7; count].into()).unwrap();
        OutputTensor::new(name, tensor)
    };
    let response = InferResponse {
        model_name: "m".into(),
        model_version: 1,
        id: Name::default(),
        parameters: Parameters::default(),
        outputs: vec![output("small", 3), output("large", 5000), output("none", 0)],
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    let large = response.outputs[1].tensor.data().clone();
    let pieces = grpc::encode_body(response);
    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces[1].as_ptr(), large.as_ptr());
}
