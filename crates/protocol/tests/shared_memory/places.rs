//! Where requests say that their tensors are.

use std::collections::BTreeMap;

use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use adulis_protocol::grpc::{self, InferParameter, InferTensorContents, ModelInferRequest};
use adulis_protocol::{DecodeError, rest};
use adulis_tensor::{DataType, Shape};
use adulis_types::{ErrorKind, InferRequest, ModelRef, RegionPlace, ServiceError, SharedInput};
use bytes::Bytes;

fn place(region: &str, offset: u64, byte_size: u64) -> RegionPlace {
    RegionPlace { region: region.into(), offset, byte_size }
}

fn decode_rest(body: &str) -> Result<InferRequest, DecodeError> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    rest::decode_infer(ModelRef::latest("m"), body, None).map(|decoded| decoded.request)
}

fn parameters(list: &[(&str, ParameterChoice)]) -> BTreeMap<String, InferParameter> {
    let parameter = |value: &ParameterChoice| InferParameter { parameter_choice: Some(value.clone()) };
    list.iter().map(|(name, value)| ((*name).to_owned(), parameter(value))).collect()
}

fn text(value: &str) -> ParameterChoice {
    ParameterChoice::StringParam(value.to_owned())
}

fn number(value: i64) -> ParameterChoice {
    ParameterChoice::Int64Param(value)
}

/// One input of eight bytes with these parameters.
fn message(list: &[(&str, ParameterChoice)]) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "A".into(),
        datatype: "FP32".into(),
        shape: vec![1, 2],
        parameters: parameters(list),
        contents: None,
    };
    ModelInferRequest { model_name: "m".into(), inputs: vec![input], ..Default::default() }
}

fn assert_places(request: &InferRequest) {
    let names: Vec<&str> = request.inputs.iter().map(|input| &*input.name).collect();
    assert_eq!(names, ["HERE"]);
    let shared = |index, name: &str, place| SharedInput {
        index,
        name: name.into(),
        datatype: DataType::Fp32,
        shape: Shape::from([1, 2]),
        place,
    };
    assert_eq!(
        request.shared_inputs,
        [
            shared(0, "A", place("r", 0, 8)),
            shared(2, "B", place("s", 64, 8))
        ]
    );
    let outputs: Vec<_> = request
        .outputs
        .iter()
        .map(|output| (&*output.name, output.place.as_deref().cloned()))
        .collect();
    assert_eq!(outputs, [("O", Some(place("r", u64::MAX, 100))), ("P", None)]);
    assert!(request.outputs.iter().all(|output| output.parameters.is_empty()));
}

#[test]
fn rest_says_them_in_parameters() {
    let request = decode_rest(
        r#"{"inputs":[
            {"name":"A","parameters":{"shared_memory_region":"r","shared_memory_byte_size":8,"other":1},
             "datatype":"FP32","shape":[1,2]},
            {"name":"HERE","datatype":"INT8","shape":[1],"data":[1]},
            {"name":"B","datatype":"FP32","shape":[1,2],"parameters":
             {"shared_memory_offset":64,"shared_memory_byte_size":8,"shared_memory_region":"s"}}],
          "outputs":[
            {"name":"O","parameters":{"shared_memory_region":"r","shared_memory_byte_size":100,
             "shared_memory_offset":18446744073709551615}},
            {"name":"P"}]}"#,
    )
    .unwrap();
    assert_places(&request);
    let again = rest::encode_request(&request, true, true);
    let (header, body) = (again.header_length, again.into_bytes());
    let again = rest::decode_infer(ModelRef::latest("m"), body, header).unwrap().request;
    assert_eq!(again.shared_inputs.len(), 2);
    assert_eq!(again.shared_inputs[1].place, place("s", 64, 8));
    assert_eq!(again.outputs[0].place, request.outputs[0].place);
}

#[test]
fn grpc_says_them_in_parameters() {
    let region = |name: &str, offset: i64| {
        [
            ("shared_memory_region", text(name)),
            ("shared_memory_offset", number(offset)),
            ("shared_memory_byte_size", number(8)),
        ]
    };
    let mut message = message(&region("r", 0));
    message.inputs[0].parameters.remove("shared_memory_offset");
    let here = InferInputTensor {
        name: "HERE".into(),
        datatype: "INT8".into(),
        shape: vec![1],
        ..Default::default()
    };
    let other = InferInputTensor {
        name: "B".into(),
        parameters: parameters(&region("s", 64)),
        ..message.inputs[0].clone()
    };
    message.inputs.extend([here, other]);
    // As Triton's clients send them: none for tensors that are in shared memory.
    message.raw_input_contents = vec![Bytes::from_static(&[1])];
    let output = parameters(&[
        ("shared_memory_region", text("r")),
        ("shared_memory_offset", ParameterChoice::Uint64Param(u64::MAX)),
        ("shared_memory_byte_size", number(100)),
    ]);
    message.outputs = vec![
        InferRequestedOutputTensor { name: "O".into(), parameters: output },
        InferRequestedOutputTensor { name: "P".into(), ..Default::default() },
    ];
    let request = grpc::decode_infer(message).unwrap();
    assert_places(&request);
    let again = grpc::decode_infer(grpc::encode_request(&request)).unwrap();
    assert_eq!(again.shared_inputs[1].place, place("s", 64, 8));
    assert_eq!(again.outputs[0].place, request.outputs[0].place);
}

fn assert_refused<T>(outcome: Result<T, DecodeError>, expected: &str) {
    let error = outcome.err().unwrap_or_else(|| panic!("expected: {expected}"));
    assert_eq!(error.client_message(), format!("model 'm': {expected}"));
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn rest_refuses_what_is_no_place() {
    let input = |more: &str| format!(r#"{{"name":"A","datatype":"FP32","shape":[1,2]{more}}}"#);
    let with = |list: &str| input(&format!(r#","parameters":{{{list}}}"#));
    let whole = r#""shared_memory_region":"r","shared_memory_byte_size":8"#;
    for (input, expected) in [
        (with(r#""shared_memory_region":"r""#), "input 'A': missing 'shared_memory_byte_size'"),
        (with(r#""shared_memory_byte_size":8"#), "input 'A': missing 'shared_memory_region'"),
        (with(r#""shared_memory_offset":8"#), "input 'A': missing 'shared_memory_region'"),
        (
            with(r#""shared_memory_region":7,"shared_memory_byte_size":8"#),
            "parameter 'shared_memory_region': expected the name of a region, got 7",
        ),
        (
            with(r#""shared_memory_region":"r","shared_memory_byte_size":-8"#),
            "parameter 'shared_memory_byte_size': expected a whole number of 0 or more, got -8",
        ),
        (
            with(r#""shared_memory_region":"r","shared_memory_byte_size":1.5"#),
            "parameter 'shared_memory_byte_size': expected a whole number of 0 or more, got 1.5",
        ),
        (
            with(r#""shared_memory_region":"r","shared_memory_byte_size":99999999999999999999"#),
            "parameter 'shared_memory_byte_size': expected a whole number of 0 or more, got 100000000000000000000",
        ),
        (
            with(r#""shared_memory_region":"r","shared_memory_byte_size":8,"shared_memory_offset":null"#),
            "parameter 'shared_memory_offset': expected a string, a number, true or false, got null",
        ),
        (
            with(r#""shared_memory_region":"r","shared_memory_region":"s","shared_memory_byte_size":8"#),
            "duplicate key 'shared_memory_region'",
        ),
        (
            input(&format!(r#","data":[1,2],"parameters":{{{whole}}}"#)),
            "input 'A': expected no data beside 'shared_memory_region', got 'data'",
        ),
        (
            with(&format!(r#"{whole},"binary_data_size":8"#)),
            "input 'A': expected no data beside 'shared_memory_region', got 'binary_data_size'",
        ),
        (format!("{0},{0}", with(whole)), "input 'A' is given twice"),
        (format!("{},{}", with(whole), input(r#","data":[1,2]"#)), "input 'A' is given twice"),
    ] {
        assert_refused(decode_rest(&format!(r#"{{"inputs":[{input}]}}"#)), expected);
    }
    assert_refused(
        decode_rest(r#"{"inputs":[],"outputs":[{"name":"O","parameters":{"shared_memory_region":"r"}}]}"#),
        "output 'O': missing 'shared_memory_byte_size'",
    );
}

#[test]
fn grpc_refuses_what_is_no_place() {
    let region = ("shared_memory_region", text("r"));
    let whole = [region.clone(), ("shared_memory_byte_size", number(8))];
    for (list, expected) in [
        (&[region.clone()][..], "input 'A': missing 'shared_memory_byte_size'"),
        (&whole[1..], "input 'A': missing 'shared_memory_region'"),
        (
            &[region.clone(), ("shared_memory_byte_size", number(-1))],
            "parameter 'shared_memory_byte_size': expected a whole number of 0 or more, got -1",
        ),
        (
            &[
                ("shared_memory_region", number(1)),
                ("shared_memory_byte_size", number(8)),
            ],
            "parameter 'shared_memory_region': expected the name of a region, got 1",
        ),
    ] {
        assert_refused(grpc::decode_infer(message(list)), expected);
    }
    let mut typed = message(&whole);
    typed.inputs[0].contents =
        Some(InferTensorContents { fp32_contents: vec![1.0, 2.0], ..Default::default() });
    assert_refused(
        grpc::decode_infer(typed),
        "input 'A': expected no data beside 'shared_memory_region', got fp32_contents",
    );
    let mut raw = message(&whole);
    raw.raw_input_contents = vec![Bytes::from_static(&[0; 8])];
    assert_refused(grpc::decode_infer(raw), "expected 0 raw contents, one for each tensor, got 1");
    let mut twice = message(&whole);
    twice.inputs.push(twice.inputs[0].clone());
    assert_refused(grpc::decode_infer(twice), "input 'A' is given twice");
}
