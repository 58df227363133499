//! FlatBuffers as bodies: what is taken, what is refused and why, what is copied.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

use adulis_protocol::{flatbuffers, model_ref};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{
    InferRequest, InferResponse, InputTensor, ModelRef, Name, OutputTensor, ParameterValue, Parameters,
    RequestedOutput, StageTimings,
};
use bytes::Bytes;

fn tensor(datatype: DataType, shape: &[usize], data: &[u8]) -> Tensor {
    Tensor::new(datatype, Shape::new(shape), Bytes::copy_from_slice(data)).unwrap()
}

/// `data` is a pattern that is nowhere else in a buffer, so that tests can find it.
fn request(datatype: DataType, data: &[u8]) -> InferRequest {
    let mut request = InferRequest::new(model_ref("m", None).unwrap());
    let length = data.len() / datatype.size_bytes().unwrap();
    request
        .inputs
        .push(InputTensor { name: "AAAA".into(), tensor: tensor(datatype, &[length], data) });
    request
}

fn encode(request: &InferRequest) -> Vec<u8> {
    flatbuffers::encode_request(request).unwrap().concat()
}

fn asked_of(version: Option<u64>) -> ModelRef {
    ModelRef { version, ..model_ref("m", None).unwrap() }
}

fn refusal(version: Option<u64>, body: Vec<u8>) -> String {
    let error = flatbuffers::decode_infer(asked_of(version), &body.into()).unwrap_err();
    error.to_string().strip_prefix("model 'm': ").unwrap().to_owned()
}

/// `body` with what is `from` in it, once, made `to`.
fn changed(mut body: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = body
        .windows(from.len())
        .enumerate()
        .filter(|(_, found)| *found == from)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 1, "{from:?}");
    body[places[0]..places[0] + to.len()].copy_from_slice(to);
    body
}

#[test]
fn tensors_are_slices_of_the_body() {
    let data: Vec<u8> = (0..=255).cycle().take(4000).collect();
    let body = Bytes::from(encode(&request(DataType::Fp32, &data)));
    let decoded = flatbuffers::decode_infer(asked_of(None), &body).unwrap().request;
    let found = decoded.inputs[0].tensor.data();
    assert_eq!(found, &data);
    assert!(body.as_ptr_range().contains(&found.as_ptr()));
}

#[test]
fn large_tensors_are_pieces_of_the_body_and_lie_aligned() {
    let outputs = [("small", 3), ("large", 5000), ("none", 0), ("larger", 6001)];
    let response = InferResponse {
        model_name: "m".into(),
        model_version: 1,
        id: Name::default(),
        parameters: Parameters::default(),
        outputs: outputs
            .iter()
            .map(|(name, count)| {
                OutputTensor::new(*name, tensor(DataType::Uint8, &[*count], &vec![7; *count]))
            })
            .collect(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    let pieces = flatbuffers::encode_infer(response.clone()).unwrap();
    assert_eq!(pieces.len(), 4);
    for (piece, output) in [(1, 1), (3, 3)] {
        assert_eq!(pieces[piece].as_ptr(), response.outputs[output].tensor.data().as_ptr());
    }
    let body = Bytes::from(pieces.concat());
    let decoded = flatbuffers::decode_response(&body).unwrap();
    for output in decoded.outputs.iter().filter(|output| output.tensor.elements() > 0) {
        assert_eq!((output.tensor.data().as_ptr().addr() - body.as_ptr().addr()) % 64, 0, "{}", output.name);
    }
}

#[test]
fn the_path_names_the_model() {
    let named = |name: &str, version| {
        let mut request = request(DataType::Fp32, &[1, 2, 3, 4]);
        request.model = ModelRef { name: name.into(), version };
        encode(&request)
    };
    for (path, body, version) in [
        (Some(2), named("m", None), Some(2)),
        (Some(2), named("", Some(2)), Some(2)),
        (None, named("m", Some(3)), Some(3)),
        (None, named("", None), None),
    ] {
        let decoded = flatbuffers::decode_infer(asked_of(path), &body.into()).unwrap().request;
        assert_eq!(decoded.model, asked_of(version));
    }
    assert_eq!(refusal(None, named("other", None)), "the body names another model: 'other'");
    assert_eq!(refusal(Some(1), named("m", Some(2))), "the path names version 1, the body version 2");
}

#[test]
fn what_is_no_buffer_is_refused() {
    let good = encode(&request(DataType::Fp32, &[0xe1, 0xe2, 0xe3, 0xe4]));
    let identifier =
        "invalid message: its file identifier is not that of adulis.InferRequest and InferResponse";
    for body in [&b""[..], b"{}", b"{\"inputs\":[]}", &[0; 8]] {
        assert_eq!(refusal(None, body.to_vec()), identifier);
    }
    for length in 8..good.len() {
        let message = refusal(None, good[..length].to_vec());
        assert!(message.contains("reaches out of the buffer"), "cut to {length}: {message}");
    }
    let text = changed(good, b"AAAA", b"AA\xffA");
    assert_eq!(refusal(None, text), "invalid message: a string is not UTF-8");
}

#[test]
fn what_is_wrong_with_a_tensor_is_told() {
    let good = encode(&request(DataType::Fp32, &[0xe1, 0xe2, 0xe3, 0xe4, 1, 0, 0, 0]));
    let shape = |extent: u64| changed(good.clone(), &2_u64.to_le_bytes(), &extent.to_le_bytes());
    assert_eq!(refusal(None, shape(3)), "input 'AAAA': expected 12 bytes for FP32 [3], got 8");
    let huge = "input 'AAAA': shape [18446744073709551615] has more elements than can be addressed";
    assert_eq!(refusal(None, shape(u64::MAX)), huge);

    let flags = encode(&request(DataType::Bool, &[1, 0, 2]));
    assert_eq!(
        refusal(None, flags),
        "input 'AAAA': expected bytes of 0 or 1 for BOOL, got 2 at element 2"
    );

    let mut twice = request(DataType::Fp32, &[1, 2, 3, 4]);
    twice.inputs.push(twice.inputs[0].clone());
    assert_eq!(refusal(None, encode(&twice)), "input 'AAAA' is given twice");
    twice.inputs[1].name = Name::default();
    assert_eq!(refusal(None, encode(&twice)), "input number 1: missing 'name'");
    let mut outputs = request(DataType::Fp32, &[1, 2, 3, 4]);
    outputs.outputs = vec![RequestedOutput::new("")];
    assert_eq!(refusal(None, encode(&outputs)), "output number 0: missing 'name'");
    outputs.outputs = vec![RequestedOutput::new("B"), RequestedOutput::new("B")];
    assert_eq!(refusal(None, encode(&outputs)), "output 'B' is given twice");
}

#[test]
fn datatypes_are_those_of_the_schema() {
    let good = encode(&request(DataType::Int8, &[0xe1, 0xe2, 0xe3]));
    // The last field of the input's table, which its name comes behind: 6 is INT8.
    let name = good.windows(4).position(|found| found == b"AAAA").unwrap();
    let place = (0..name).rev().find(|&place| good[place] == 6).unwrap();
    let with = |value: u8| {
        let mut body = good.clone();
        body[place] = value;
        refusal(None, body)
    };
    assert_eq!(with(0), "input 'AAAA': missing 'datatype'");
    assert!(with(200).starts_with("input 'AAAA': datatype '200': unknown datatype: expected one of BOOL"));
}

#[test]
fn lists_are_bounded() {
    let mut parameters = request(DataType::Fp32, &[1, 2, 3, 4]);
    for index in 0..65 {
        parameters.parameters.set(format!("p{index}"), ParameterValue::Bool(true));
    }
    assert_eq!(refusal(None, encode(&parameters)), "too many parameters: at most 64 are taken");
    let mut inputs = request(DataType::Fp32, &[1, 2, 3, 4]);
    inputs.inputs = vec![inputs.inputs[0].clone(); 1025];
    assert_eq!(refusal(None, encode(&inputs)), "too many inputs: at most 1024 are taken");
    let mut deep = request(DataType::Int8, &[1]);
    deep.inputs[0].tensor = tensor(DataType::Int8, &[1; 33], &[1]);
    assert_eq!(refusal(None, encode(&deep)), "input 'AAAA': expected at most 32 dimensions, got 33");
}

#[test]
fn parameters_have_one_value_each() {
    let mut with = request(DataType::Fp32, &[1, 2, 3, 4]);
    with.parameters.set("ABCD", ParameterValue::String("EFGH".into()));
    with.parameters.set("IJKL", ParameterValue::String("MNOP".into()));
    let twice = changed(encode(&with), b"IJKL", b"ABCD");
    assert_eq!(refusal(None, twice), "duplicate key 'ABCD'");
    with.parameters = Parameters::default();
    with.parameters.set("timeout", ParameterValue::String("soon".into()));
    assert_eq!(
        refusal(None, encode(&with)),
        "parameter 'timeout': expected a whole number of 0 or more, got 'soon'"
    );
}

/// Many tensors that share one list of bytes would be larger together than what was sent.
#[test]
fn tensors_that_overlap_are_refused() {
    let mut many = request(DataType::Uint8, &vec![7; 200_000]);
    let small = tensor(DataType::Uint8, &[200_000], &vec![7; 200_000]);
    many.inputs = (0..8)
        .map(|index| InputTensor { name: format!("I{index}").into(), tensor: small.clone() })
        .collect();
    let body = encode(&many);
    // The offset of each input's data, to the length before it: 200,000 as four bytes.
    let length = 200_000_u32.to_le_bytes();
    let data: Vec<usize> = body
        .windows(4)
        .enumerate()
        .filter(|(_, found)| *found == length)
        .map(|(at, _)| at)
        .collect();
    let data: Vec<usize> = data.into_iter().filter(|at| (at + 4) % 64 == 0).collect();
    assert_eq!(data.len(), 8);
    let mut shared = body[..data[0] + 4 + 200_000].to_vec();
    for link in (0..data[0] - 4).step_by(4) {
        let offset = u32::from_le_bytes(shared[link..link + 4].try_into().unwrap());
        if data[1..].contains(&(link + offset as usize)) {
            let offset = u32::try_from(data[0] - link).unwrap();
            shared[link..link + 4].copy_from_slice(&offset.to_le_bytes());
        }
    }
    assert_eq!(
        refusal(None, shared),
        "invalid message: its fields overlap: they are longer together than the buffer"
    );
}
