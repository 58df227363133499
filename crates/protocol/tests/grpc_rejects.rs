//! Bad and good gRPC requests with typed and raw contents, and what the bad ones are told.

use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::model_infer_request::InferInputTensor;
use adulis_protocol::grpc::{self, InferParameter, InferTensorContents, ModelInferRequest};
use adulis_types::{ErrorKind, ServiceError};
use bytes::Bytes;

type Contents = InferTensorContents;

fn input(datatype: &str, shape: &[i64], contents: Option<Contents>) -> InferInputTensor {
    InferInputTensor {
        name: "A".into(),
        datatype: datatype.into(),
        shape: shape.into(),
        contents,
        ..Default::default()
    }
}

fn request(inputs: Vec<InferInputTensor>, raw: &[&'static [u8]]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "m".into(),
        inputs,
        raw_input_contents: raw.iter().map(|bytes| Bytes::from_static(bytes)).collect(),
        ..Default::default()
    }
}

fn refusal(message: ModelInferRequest) -> String {
    let error = grpc::decode_infer(message).expect_err("a refusal");
    let message = error.client_message().into_owned();
    let rest = message.strip_prefix("model 'm': ").expect("the message names the model");
    match error.kind() {
        ErrorKind::InvalidArgument => rest.to_owned(),
        kind => format!("{}: {rest}", kind.as_str()),
    }
}

fn typed(datatype: &str, shape: &[i64], contents: Contents) -> ModelInferRequest {
    request(vec![input(datatype, shape, Some(contents))], &[])
}

#[test]
fn typed_contents_of_every_datatype() {
    let good: [(&str, Contents, &[u8]); 12] = [
        ("BOOL", Contents { bool_contents: vec![true, false], ..Default::default() }, &[1, 0]),
        ("UINT8", Contents { uint_contents: vec![1, 255], ..Default::default() }, &[1, 255]),
        ("UINT16", Contents { uint_contents: vec![1, 256], ..Default::default() }, &[1, 0, 0, 1]),
        (
            "UINT32",
            Contents { uint_contents: vec![1, 2], ..Default::default() },
            &[1, 0, 0, 0, 2, 0, 0, 0],
        ),
        (
            "UINT64",
            Contents { uint64_contents: vec![1, 2], ..Default::default() },
            &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        ),
        ("INT8", Contents { int_contents: vec![1, -1], ..Default::default() }, &[1, 255]),
        ("INT16", Contents { int_contents: vec![1, -1], ..Default::default() }, &[1, 0, 255, 255]),
        (
            "INT32",
            Contents { int_contents: vec![1, -1], ..Default::default() },
            &[1, 0, 0, 0, 255, 255, 255, 255],
        ),
        (
            "INT64",
            Contents { int64_contents: vec![1, 2], ..Default::default() },
            &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        ),
        (
            "FP32",
            Contents { fp32_contents: vec![1.0, 0.0], ..Default::default() },
            &[0, 0, 128, 63, 0, 0, 0, 0],
        ),
        (
            "FP64",
            Contents { fp64_contents: vec![1.0, 0.0], ..Default::default() },
            &[0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        (
            "BYTES",
            Contents {
                bytes_contents: vec![Bytes::from_static(b"a"), Bytes::new()],
                ..Default::default()
            },
            &[1, 0, 0, 0, b'a', 0, 0, 0, 0],
        ),
    ];
    for (datatype, contents, bytes) in good {
        let request = grpc::decode_infer(typed(datatype, &[2], contents.clone())).unwrap();
        assert_eq!(&request.inputs[0].tensor.data()[..], bytes, "{datatype}");
        assert!(
            refusal(typed(datatype, &[3], contents.clone())).contains("expected 3 elements for"),
            "{datatype}"
        );
        let other = if datatype == "FP32" { "FP64" } else { "FP32" };
        assert!(refusal(typed(other, &[2], contents)).contains("_contents for FP"), "{datatype}");
    }
}

#[test]
fn typed_contents_that_do_not_fit() {
    let ints = |values: &[i32]| Contents { int_contents: values.into(), ..Default::default() };
    let uints = |values: &[u32]| Contents { uint_contents: values.into(), ..Default::default() };
    let rows = [
        (
            typed("INT8", &[2], ints(&[0, 300])),
            "expected -128 to 127 for INT8 at element 1, got 300",
        ),
        (
            typed("INT16", &[1], ints(&[40_000])),
            "expected -32768 to 32767 for INT16 at element 0, got 40000",
        ),
        (typed("UINT8", &[1], uints(&[256])), "expected 0 to 255 for UINT8 at element 0, got 256"),
        (
            typed("UINT16", &[1], uints(&[65_536])),
            "expected 0 to 65535 for UINT16 at element 0, got 65536",
        ),
        (typed("FP32", &[1], ints(&[1])), "expected fp32_contents for FP32, got int_contents"),
        (typed("FP16", &[1], ints(&[1])), "expected raw contents for FP16, got int_contents"),
        (typed("BF16", &[1], Contents::default()), "expected raw contents for BF16, got none"),
        (typed("INT32", &[2], Contents::default()), "expected 2 elements for INT32 [2], got 0"),
        (
            typed("INT32", &[-1], ints(&[1])),
            "expected dimensions that are whole numbers of 0 or more, got -1 at index 0 of the shape",
        ),
        (typed("INT32", &[1; 33], ints(&[1])), "expected at most 32 dimensions, got 33"),
        (
            typed("INT32", &[i64::MAX, 3], ints(&[1])),
            "shape [9223372036854775807,3] has more elements than can be addressed",
        ),
    ];
    for (message, expected) in rows {
        assert_eq!(refusal(message), format!("input 'A': {expected}"));
    }
    assert!(refusal(typed("", &[1], ints(&[1]))).starts_with("input 'A': datatype '': unknown datatype"));
}

#[test]
fn raw_contents() {
    let fp32 = || input("FP32", &[1], None);
    assert_eq!(
        refusal(request(vec![fp32()], &[&[0; 4], &[0; 4]])),
        "expected 1 raw contents, one for each tensor, got 2"
    );
    assert_eq!(
        refusal(request(vec![fp32()], &[&[0; 3]])),
        "input 'A': expected 4 bytes for FP32 [1], got 3"
    );
    let both = input("FP32", &[1], Some(Contents { fp32_contents: vec![1.0], ..Default::default() }));
    assert_eq!(
        refusal(request(vec![both], &[&[0; 4]])),
        "input 'A': expected no typed contents beside raw contents for FP32, got fp32_contents"
    );
    assert_eq!(
        refusal(request(vec![input("BOOL", &[2], None)], &[&[1, 7]])),
        "input 'A': expected bytes of 0 or 1 for BOOL, got 7 at element 1"
    );
    assert_eq!(refusal(request(vec![fp32(), fp32()], &[&[0; 4], &[0; 4]])), "input 'A' is given twice");
    let message = request(vec![input("FP32", &[0, 3], None)], &[]);
    assert_eq!(grpc::decode_infer(message).unwrap().inputs[0].tensor.elements(), 0);
}

#[test]
fn names_versions_parameters() {
    let parameter = |choice| InferParameter { parameter_choice: choice };
    let mut nameless = request(vec![input("INT8", &[1], None)], &[&[1]]);
    nameless.inputs[0].name.clear();
    assert_eq!(refusal(nameless), "input number 0: missing 'name'");

    let mut version = request(vec![], &[]);
    version.model_version = "one".into();
    assert_eq!(refusal(version), "expected a version number of 1 or more, got 'one'");

    let mut empty = request(vec![], &[]);
    empty.parameters.insert("x".into(), parameter(None));
    assert_eq!(refusal(empty), "parameter 'x': expected a value, got none");

    let mut many = request(vec![], &[]);
    many.parameters = (0..65)
        .map(|index| (format!("p{index}"), parameter(Some(ParameterChoice::BoolParam(true)))))
        .collect();
    assert_eq!(refusal(many), "too many parameters: at most 64 are taken");

    let mut timeout = request(vec![], &[]);
    timeout
        .parameters
        .insert("timeout".into(), parameter(Some(ParameterChoice::Int64Param(-5))));
    assert_eq!(refusal(timeout), "parameter 'timeout': expected a whole number of 0 or more, got -5");

    let mut sequence = request(vec![], &[]);
    sequence
        .parameters
        .insert("sequence_start".into(), parameter(Some(ParameterChoice::Int64Param(1))));
    assert_eq!(refusal(sequence), "parameter 'sequence_start': expected true or false, got 1");

    assert_eq!(
        refusal(request(vec![input("INT8", &[1], None); 1025], &[])),
        "too many inputs: at most 1024 are taken"
    );
}
