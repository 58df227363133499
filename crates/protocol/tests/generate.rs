//! Bodies of the generate extension: what they become, what is refused, and how answers are written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use adulis_protocol::rest::NonFinite;
use adulis_protocol::rest::generate::{decode_generate, encode_generate, event};
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::{
    InferRequest, InferResponse, ModelMetadata, ModelRef, OutputTensor, ParameterValue, Parameters,
    ServiceError, StageTimings, TensorMetadata,
};

fn model(inputs: &[(&str, DataType, &[i64])]) -> ModelMetadata {
    let input = |(name, datatype, shape): &(&str, DataType, &[i64])| TensorMetadata {
        name: (*name).into(),
        datatype: *datatype,
        shape: ShapePattern::new(shape),
        optional: false,
    };
    ModelMetadata {
        name: "m".into(),
        versions: vec![1],
        platform: "test".into(),
        inputs: inputs.iter().map(input).collect(),
        outputs: Vec::new(),
    }
}

fn llm() -> ModelMetadata {
    model(&[
        ("text_input", DataType::Bytes, &[1]),
        ("stream", DataType::Bool, &[1, 1]),
        ("ids", DataType::Int64, &[-1, -1, 2]),
        ("table", DataType::Fp32, &[2, 3]),
    ])
}

fn decode(body: &str) -> InferRequest {
    decode_generate(ModelRef::latest("m"), &llm(), &body.to_owned().into()).unwrap().request
}

fn refusal(body: &str) -> String {
    let error = decode_generate(ModelRef::latest("m"), &llm(), &body.to_owned().into()).unwrap_err();
    assert_eq!(error.kind(), adulis_types::ErrorKind::InvalidArgument);
    error.client_message().into_owned()
}

fn shape(request: &InferRequest, index: usize) -> Vec<usize> {
    request.inputs[index].tensor.shape().to_vec()
}

#[test]
fn keys_are_inputs_the_id_and_parameters() {
    let request = decode(
        r#"{"id":"42","text_input":"hello","parameters":{"stream":false,"temperature":0,"top":0.5},"stop":"\n"}"#,
    );
    assert_eq!(&*request.id, "42");
    let names: Vec<&str> = request.inputs.iter().map(|input| &*input.name).collect();
    assert_eq!(names, ["text_input", "stream"], "an input may stand among the parameters");
    assert_eq!(&request.inputs[0].tensor.data()[..], b"\x05\0\0\0hello");
    assert_eq!((shape(&request, 0), shape(&request, 1)), (vec![1], vec![1, 1]));
    let parameters: Vec<_> = request.parameters.iter().collect();
    assert_eq!(
        parameters,
        [
            ("temperature", &ParameterValue::Int64(0)),
            ("top", &ParameterValue::Double(0.5)),
            ("stop", &ParameterValue::String("\n".into())),
        ]
    );
}

#[test]
fn values_are_laid_out_in_the_models_shape() {
    for (value, expected) in [
        ("[1,2,3,4]", [1, 2, 2]),
        ("[[1,2],[3,4]]", [1, 2, 2]),
        ("[[[1,2]],[[3,4]]]", [2, 1, 2]),
        ("[1,2]", [1, 1, 2]),
        ("[]", [1, 0, 2]),
    ] {
        assert_eq!(shape(&decode(&format!(r#"{{"ids":{value}}}"#)), 0), expected, "{value}");
    }
    assert_eq!(shape(&decode(r#"{"table":[1,2,3,4,5,6]}"#), 0), [2, 3]);
}

#[test]
fn an_empty_body_is_an_empty_object() {
    for body in ["", " \n", "{}"] {
        let request = decode(body);
        assert!(request.inputs.is_empty() && request.parameters.is_empty() && request.id.is_empty());
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    for (body, message) in [
        (r#"{"ids":[1,2,3]}"#, "input 'ids': 3 values cannot be laid out as [-1,-1,2]"),
        (r#"{"ids":1}"#, "input 'ids': 1 values cannot be laid out as [-1,-1,2]"),
        (r#"{"table":[]}"#, "input 'table': 0 values cannot be laid out as [2,3]"),
        (r#"{"table":[1,2,3,4,5,6,7,8,9,10,11,12]}"#, "input 'table': 12 values cannot"),
        (r#"{"text_input":["a","b"]}"#, "input 'text_input': 2 values cannot be laid out as [1]"),
        (r#"{"text_input":123}"#, "input 'text_input'"),
        (r#"{"stream":"false"}"#, "input 'stream'"),
        (r#"{"ids":[1,[2]]}"#, "input 'ids'"),
        (r#"{"ids":[1.5,2]}"#, "input 'ids'"),
        (r#"{"text_input":"a","text_input":"b"}"#, "input 'text_input' is given twice"),
        (
            r#"{"text_input":"a","parameters":{"text_input":"b"}}"#,
            "input 'text_input' is given twice",
        ),
        (r#"{"x":1,"parameters":{"x":1}}"#, "duplicate key 'x'"),
        (r#"{"id":"1","id":"2"}"#, "duplicate key 'id'"),
        (r#"{"parameters":{},"parameters":{}}"#, "duplicate key 'parameters'"),
        (r#"{"id":1}"#, "expected a string"),
        (r#"{"x":null}"#, "parameter 'x': expected a string, a number, true or false, got null"),
        (r#"{"x":{}}"#, "parameter 'x'"),
        (r#"{"x":[1]}"#, "parameter 'x'"),
        (r#"{"parameters":1}"#, "expected '{'"),
        (r#"{"triton_x":1}"#, "reserved"),
        (r#"{"priority":-1}"#, "parameter 'priority'"),
        (
            r#"{"non_finite":"nan"}"#,
            "parameter 'non_finite': expected 'string', 'literal' or 'null', got 'nan'",
        ),
        (r#"[]"#, "expected '{'"),
        (r#"{"text_input":"a"} x"#, "expected the end"),
        (r#"{"text_input":"a""#, "expected ',' or '}'"),
        ("{\"text_input\":\"\u{1}\"}", "invalid JSON"),
    ] {
        let refused = refusal(body);
        assert!(refused.starts_with("model 'm': ") && refused.contains(message), "{body}: {refused}");
    }
    let many = (0..65).map(|index| format!(r#""p{index}":1"#)).collect::<Vec<_>>().join(",");
    assert!(refusal(&format!("{{{many}}}")).contains("at most 64"));
    let deep = format!(r#"{{"ids":{}"#, "[".repeat(100_000));
    assert!(refusal(&deep).contains("ids"));
}

#[test]
fn an_input_named_parameters_cannot_be_asked_for_here() {
    let metadata = model(&[
        ("parameters", DataType::Int32, &[1]),
        ("id", DataType::Int32, &[1]),
    ]);
    let decode = |body: &str| decode_generate(ModelRef::latest("m"), &metadata, &body.to_owned().into());
    let refused = decode(r#"{"parameters":1}"#).unwrap_err().client_message().into_owned();
    assert!(refused.contains("keyword 'parameters'"), "{refused}");
    assert_eq!(decode(r#"{"id":7}"#).unwrap().request.inputs.len(), 1, "an input may be called id");
}

fn response(outputs: Vec<(&str, Tensor)>) -> InferResponse {
    InferResponse {
        model_name: "m".into(),
        model_version: 3,
        id: "a\"b".into(),
        parameters: Parameters::default(),
        outputs: outputs.into_iter().map(|(name, tensor)| OutputTensor::new(name, tensor)).collect(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    }
}

fn tensor(datatype: DataType, shape: &[usize], data: &[u8]) -> Tensor {
    Tensor::new(datatype, Shape::new(shape), data.to_vec().into()).unwrap()
}

#[test]
fn answers_are_flat_objects() {
    let mut answer = response(vec![
        ("text_output", tensor(DataType::Bytes, &[1, 1], b"\x04\0\0\0a\nb\"")),
        ("IDX", tensor(DataType::Uint8, &[2, 2], &[1, 2, 3, 4])),
        ("empty", tensor(DataType::Uint8, &[0], &[])),
    ]);
    answer.parameters.set("tokens", ParameterValue::Int64(3));
    answer.parameters.set("IDX", ParameterValue::Int64(3));
    let json = encode_generate(&answer, NonFinite::default()).unwrap();
    let text = String::from_utf8(json.clone()).unwrap();
    insta::assert_snapshot!(text, @r#"{"model_name":"m","model_version":"3","id":"a\"b","tokens":3,"text_output":"a\nb\"","IDX":[1,2,3,4],"empty":[]}"#);
    assert_eq!(event(&json), format!("data: {text}\n\n"));
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(value["text_output"], "a\nb\"");
}

#[test]
fn nan_and_infinities_are_written_as_the_request_wishes() {
    let values = [f32::NAN, f32::NEG_INFINITY].map(f32::to_le_bytes).concat();
    let outputs = [
        ("one", tensor(DataType::Fp32, &[1], &values[4..])),
        ("two", tensor(DataType::Fp32, &[2], &values)),
    ];
    for (wish, expected) in [
        ("{}", r#""one":"-Infinity","two":["NaN","-Infinity"]"#),
        (r#"{"non_finite":"string"}"#, r#""one":"-Infinity","two":["NaN","-Infinity"]"#),
        (r#"{"non_finite":"literal"}"#, r#""one":-Infinity,"two":[NaN,-Infinity]"#),
        (r#"{"parameters":{"non_finite":"null"}}"#, r#""one":null,"two":[null,null]"#),
    ] {
        let decoded = decode_generate(ModelRef::latest("m"), &llm(), &wish.to_owned().into()).unwrap();
        assert!(decoded.request.parameters.is_empty(), "{wish}: nothing of it goes to the model");
        let json = encode_generate(&response(outputs.to_vec()), decoded.format.non_finite()).unwrap();
        let text = String::from_utf8(json).unwrap();
        assert!(text.ends_with(&format!(",{expected}}}")), "{wish}: {text}");
    }
}

#[test]
fn what_has_no_form_in_json_is_an_error() {
    for (datatype, data, message) in [
        (DataType::Fp16, &[0, 0][..], "FP16"),
        (DataType::Bytes, b"\x01\0\0\0\xff", "UTF-8"),
    ] {
        let answer = response(vec![("o", tensor(datatype, &[1], data))]);
        let error = encode_generate(&answer, NonFinite::default()).unwrap_err().to_string();
        assert!(error.contains("output 'o'") && error.contains(message), "{error}");
    }
}
