//! V1 requests and answers: what is taken, what is refused and why, what comes out.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

use adulis_protocol::model_ref;
use adulis_protocol::rest::NonFinite;
use adulis_protocol::rest::v1::{self, PredictFormat};
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor, append_element};
use adulis_types::{
    InferResponse, ModelMetadata, Name, OutputTensor, ParameterValue, Parameters, StageTimings,
    TensorMetadata,
};
use bytes::Bytes;

/// A model of these inputs; a question mark behind a name says that it is optional.
fn model(inputs: &[(&str, DataType)]) -> ModelMetadata {
    let input = |(name, datatype): &(&str, DataType)| TensorMetadata {
        name: name.trim_end_matches('?').into(),
        datatype: *datatype,
        shape: ShapePattern::new(&[-1]),
        optional: name.ends_with('?'),
    };
    ModelMetadata {
        name: "m".into(),
        versions: vec![1],
        platform: "test".into(),
        inputs: inputs.iter().map(input).collect(),
        outputs: Vec::new(),
    }
}

fn decode(inputs: &[(&str, DataType)], body: &str) -> Result<v1::PredictRequest, String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    v1::decode_predict(model_ref("m", None).unwrap(), &model(inputs), &body)
        .map_err(|error| error.to_string())
}

fn refusal(inputs: &[(&str, DataType)], body: &str) -> String {
    let message = decode(inputs, body).unwrap_err();
    message.strip_prefix("model 'm': ").unwrap().to_owned()
}

/// Name, shape and numbers of each input of FP32.
fn floats(request: &v1::PredictRequest) -> Vec<(String, String, Vec<f32>)> {
    let inputs = request.request.inputs.iter();
    inputs
        .map(|input| {
            let numbers = input.tensor.data().as_chunks().0.iter().copied().map(f32::from_le_bytes);
            (input.name.to_string(), input.tensor.shape().to_string(), numbers.collect())
        })
        .collect()
}

const X: &[(&str, DataType)] = &[("x", DataType::Fp32)];
const XY: &[(&str, DataType)] = &[("x", DataType::Fp32), ("y", DataType::Fp32)];
const TEXT: &[(&str, DataType)] = &[("t", DataType::Bytes)];

#[test]
fn rows_and_columns_of_a_single_input() {
    for (body, shape, numbers) in [
        (r#"{"instances":[1,2.5]}"#, "[2]", &[1.0, 2.5][..]),
        (r#"{"instances":[[1,2],[3,4],[5,6]]}"#, "[3,2]", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        (r#"{"instances":[{"x":[1,2]},{"x":[3,4]}]}"#, "[2,2]", &[1.0, 2.0, 3.0, 4.0]),
        (r#"{"instances":[[[],[]]]}"#, "[1,2,0]", &[]),
        (r#"{"inputs":[[1,2,3]]}"#, "[1,3]", &[1.0, 2.0, 3.0]),
        (r#"{"inputs":{"x":[[1,2,3]]}}"#, "[1,3]", &[1.0, 2.0, 3.0]),
        (r#"{"inputs":7}"#, "[]", &[7.0]),
        (r#"{"inputs":[]}"#, "[0]", &[]),
        (r#"{"signature_name":"serving_default","unknown":[{}],"instances":[1e0]}"#, "[1]", &[1.0]),
    ] {
        let decoded = decode(X, body).unwrap();
        assert_eq!(floats(&decoded), [("x".into(), shape.into(), numbers.to_vec())], "{body}");
        let rows = body.contains("instances");
        assert_eq!(decoded.format, if rows { PredictFormat::Rows } else { PredictFormat::Columns });
    }
}

#[test]
fn rows_and_columns_of_several_inputs() {
    for body in [
        r#"{"instances":[{"x":1,"y":[10,20]},{"y":[30,40],"x":2}]}"#,
        r#"{"inputs":{"y":[[10,20],[30,40]],"x":[1,2]}}"#,
    ] {
        let found = floats(&decode(XY, body).unwrap());
        let x = ("x".into(), "[2]".into(), vec![1.0, 2.0]);
        let y = ("y".into(), "[2,2]".into(), vec![10.0, 20.0, 30.0, 40.0]);
        assert_eq!(found, [x, y], "{body}");
    }
    let optional = [("x", DataType::Fp32), ("y?", DataType::Fp32)];
    let found = decode(&optional, r#"{"instances":[{"x":1},{"x":2}]}"#).unwrap();
    assert_eq!(found.request.inputs.len(), 1);
}

#[test]
fn integers_are_exact() {
    let found = decode(&[("i", DataType::Int64)], r#"{"instances":[9223372036854775807,-9007199254740993]}"#);
    let expected: Vec<u8> = [i64::MAX, -9_007_199_254_740_993].iter().flat_map(|i| i.to_le_bytes()).collect();
    assert_eq!(found.unwrap().request.inputs[0].tensor.data(), &expected);
}

#[test]
fn bytes_are_text_or_base64() {
    for body in [
        r#"{"instances":["é",{"b64":"/wA="}]}"#,
        r#"{"instances":[{"b64":"w6k"},{"b64":"/wA"}]}"#,
        r#"{"instances":[{"t":{"b64":"w6k="}},{"t":{"b64":"/wA="}}]}"#,
        r#"{"inputs":["é",{"b64":"/wA="}]}"#,
        r#"{"inputs":{"t":["\u00e9",{"b64":"/wA="}]}}"#,
    ] {
        let tensor = decode(TEXT, body).unwrap().request.inputs.remove(0).tensor;
        assert_eq!(tensor.bytes_elements().collect::<Vec<_>>(), ["é".as_bytes(), b"\xff\0"], "{body}");
    }
    let named = decode(&[("b64", DataType::Bytes)], r#"{"instances":[{"b64":"plain"}]}"#).unwrap();
    let elements: Vec<&[u8]> = named.request.inputs[0].tensor.bytes_elements().collect();
    assert_eq!(elements, [b"plain"]);
}

#[test]
fn parameters_are_those_of_the_other_protocol() {
    let found = decode(X, r#"{"instances":[1],"parameters":{"priority":2,"timeout":5,"own":true}}"#).unwrap();
    assert_eq!(found.request.priority, 2);
    assert_eq!(found.request.timeout.unwrap().as_micros(), 5);
    assert_eq!(found.request.parameters.get("own"), Some(&ParameterValue::Bool(true)));
}

#[test]
fn what_is_wrong_is_told() {
    for (body, message) in [
        ("", "the body is empty: expected a JSON object"),
        ("[1]", "invalid JSON at byte 0: expected '{', got '['"),
        (r#"{"instances":[1]}x"#, "invalid JSON at byte 17: expected the end, got 'x'"),
        (r#"{"instances":[1,]}"#, "invalid JSON at byte 16: expected a value, got ']'"),
        ("{}", "missing 'instances' or 'inputs'"),
        (r#"{"instances":[]}"#, "'instances' is empty: expected one at least"),
        (r#"{"instances":[1],"inputs":[1]}"#, "expected either 'instances' or 'inputs', got both"),
        (r#"{"instances":[1],"instances":[1]}"#, "duplicate key 'instances'"),
        (
            r#"{"signature_name":7,"instances":[1]}"#,
            "invalid JSON at byte 18: expected a string, got '7'",
        ),
        (r#"{"instances":[{"z":1}]}"#, "unknown input 'z': expected 'x'"),
        (r#"{"instances":[{}]}"#, "instance 0: missing input 'x'"),
        (r#"{"instances":[{"x":1},{}]}"#, "instance 1: missing input 'x'"),
        (r#"{"instances":[{"x":1,"x":1}]}"#, "duplicate key 'x'"),
        (r#"{"inputs":{"x":1,"x":1}}"#, "duplicate key 'x'"),
        (
            r#"{"instances":[[1,2],[3]]}"#,
            "input 'x': expected lists of one length along dimension 1, got 2 and 1",
        ),
        (
            r#"{"inputs":[[[1],[2]],[[3]]]}"#,
            "input 'x': expected lists of one length along dimension 1, got 2 and 1",
        ),
        (
            r#"{"instances":[1,[2]]}"#,
            "input 'x': expected all elements equally deep in lists, got one at depth 1 and a list at depth 1",
        ),
        (
            r#"{"instances":[[1],2]}"#,
            "input 'x': expected all elements equally deep in lists, got one at depth 2 and a number at depth 1",
        ),
        (
            r#"{"instances":[[],2]}"#,
            "input 'x': expected all elements equally deep in lists, got one at depth 2 and a number at depth 1",
        ),
        (
            r#"{"instances":[[],[2]]}"#,
            "input 'x': expected lists of one length along dimension 1, got 0 and 1",
        ),
        (
            r#"{"instances":["a"]}"#,
            "input 'x': expected a number up to 3.4e38, NaN, Infinity or -Infinity for FP32 at element 0, got \"a\"",
        ),
        (
            r#"{"instances":[1,null]}"#,
            "input 'x': expected a number up to 3.4e38, NaN, Infinity or -Infinity for FP32 at element 1, got null",
        ),
    ] {
        assert_eq!(refusal(X, body), message, "{body}");
    }
    let deep = format!(r#"{{"inputs":{}1{}}}"#, "[".repeat(33), "]".repeat(33));
    assert_eq!(refusal(X, &deep), "input 'x': expected at most 32 dimensions, got 33");
}

#[test]
fn what_is_wrong_with_several_inputs_or_bytes_is_told() {
    for (body, message) in [
        (
            r#"{"instances":[[1]]}"#,
            "expected an object with 'x', 'y' as its keys: only the data of a single input needs no name",
        ),
        (
            r#"{"inputs":[1]}"#,
            "expected an object with 'x', 'y' as its keys: only the data of a single input needs no name",
        ),
        (r#"{"instances":[{"x":1}]}"#, "instance 0: missing input 'y'"),
        (r#"{"instances":[{"x":1,"y":1},{"y":1}]}"#, "instance 1: missing input 'x'"),
    ] {
        assert_eq!(refusal(XY, body), message, "{body}");
    }
    let optional = [("x?", DataType::Fp32), ("y", DataType::Fp32)];
    assert_eq!(
        refusal(&optional, r#"{"instances":[{"y":1},{"y":1,"x":1}]}"#),
        "instance 0: missing input 'x'"
    );
    assert_eq!(
        refusal(&[], r#"{"instances":[1]}"#),
        "expected an object with no inputs as its keys: only the data of a single input needs no name"
    );
    for body in [
        r#"{"instances":[{"b64":"?"}]}"#,
        r#"{"instances":[{"b64":1}]}"#,
        r#"{"instances":[{"b64":"","b64":""}]}"#,
        r#"{"instances":[{"b64":"","c":1}]}"#,
        r#"{"inputs":{"t":{"c":""}}}"#,
        r#"{"instances":[7]}"#,
    ] {
        let message = refusal(TEXT, body);
        assert!(message.contains(r#"expected a string or {"b64": "…"} for BYTES"#), "{body}: {message}");
    }
    assert_eq!(
        refusal(&[("h", DataType::Fp16)], r#"{"instances":[1]}"#),
        "input 'h': FP16 has no form in JSON: send binary data over the v2 protocol ('binary_data_size')"
    );
}

fn response(outputs: &[(&str, Tensor)]) -> InferResponse {
    InferResponse {
        model_name: "m".into(),
        model_version: 1,
        id: Name::default(),
        parameters: Parameters::default(),
        outputs: outputs.iter().map(|(name, tensor)| OutputTensor::new(*name, tensor.clone())).collect(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    }
}

fn tensor(datatype: DataType, shape: &[usize], data: &[u8]) -> Tensor {
    Tensor::new(datatype, Shape::new(shape), Bytes::copy_from_slice(data)).unwrap()
}

fn bytes(elements: &[&[u8]]) -> Tensor {
    let mut data = Vec::new();
    elements.iter().for_each(|element| append_element(&mut data, element).unwrap());
    tensor(DataType::Bytes, &[elements.len()], &data)
}

#[test]
fn answers_in_both_formats() {
    let numbers = tensor(DataType::Uint8, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let flags = tensor(DataType::Bool, &[2], &[0, 1]);
    let single = response(&[("n", numbers.clone())]);
    let both = response(&[("n", numbers), ("f", flags)]);
    let text = response(&[("t", bytes(&[b"a\"", b"\xff"]))]);
    let base64 = response(&[("t_bytes", bytes(&[b"a"]))]);
    let scalar = response(&[("s", tensor(DataType::Int8, &[], &[255]))]);
    let empty = response(&[("e", tensor(DataType::Int8, &[0, 4], &[]))]);
    let (rows, columns) = (PredictFormat::Rows, PredictFormat::Columns);
    for (response, format, expected) in [
        (&single, rows, r#"{"predictions":[[1,2,3],[4,5,6]]}"#),
        (&single, columns, r#"{"outputs":[[1,2,3],[4,5,6]]}"#),
        (&both, rows, r#"{"predictions":[{"n":[1,2,3],"f":false},{"n":[4,5,6],"f":true}]}"#),
        (&both, columns, r#"{"outputs":{"n":[[1,2,3],[4,5,6]],"f":[false,true]}}"#),
        (&text, rows, r#"{"predictions":["a\"",{"b64":"/w=="}]}"#),
        (&base64, columns, r#"{"outputs":[{"b64":"YQ=="}]}"#),
        (&scalar, columns, r#"{"outputs":-1}"#),
        (&empty, rows, r#"{"predictions":[]}"#),
    ] {
        let body = v1::encode_predict(response, format, NonFinite::Text).unwrap();
        assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    }
}

#[test]
fn what_has_no_form_is_told() {
    let one = tensor(DataType::Int8, &[1], &[1]);
    let two = tensor(DataType::Int8, &[2], &[1, 2]);
    let scalar = tensor(DataType::Int8, &[], &[1]);
    let half = tensor(DataType::Fp16, &[1], &[0, 0]);
    let lists = tensor(DataType::Fp32, &[1 << 40, 0], &[]);
    for (outputs, message) in [
        (vec![("a", two), ("b", one)], "output 'b' of shape [1] has not the 2 rows of the others"),
        (vec![("a", scalar)], "output 'a' of shape [] has not the 0 rows"),
        (vec![("a", half)], "output 'a' is FP16, which has no form in JSON: ask the v2 protocol"),
        (
            vec![("a", lists)],
            "output 'a' of shape [1099511627776,0] has no elements and too many lists",
        ),
    ] {
        let body = v1::encode_predict(&response(&outputs), PredictFormat::Rows, NonFinite::Text);
        let error = body.unwrap_err().to_string();
        assert!(error.starts_with("model 'm': ") && error.contains(message), "{error}");
    }
}

#[test]
fn numbers_that_json_lacks_come_and_go() {
    let body =
        r#"{"instances":["NaN",Infinity,"-Infinity",-Infinity],"parameters":{"non_finite":"literal"}}"#;
    let request = decode(X, body).unwrap();
    assert_eq!(request.non_finite, NonFinite::Literal);
    let tensor = request.request.inputs[0].tensor.clone();
    let answer = |non_finite| {
        let body = v1::encode_predict(&response(&[("y", tensor.clone())]), PredictFormat::Rows, non_finite);
        String::from_utf8(body.unwrap().into()).unwrap()
    };
    let text = r#"{"predictions":["NaN","Infinity","-Infinity","-Infinity"]}"#;
    assert_eq!(answer(NonFinite::Text), text);
    assert_eq!(answer(NonFinite::Literal), r#"{"predictions":[NaN,Infinity,-Infinity,-Infinity]}"#);
    assert_eq!(answer(NonFinite::Null), r#"{"predictions":[null,null,null,null]}"#);
}

#[test]
fn the_first_key_tells_the_protocol() {
    for (body, expected) in [
        (r#"{"instances":[1]}"#, true),
        (r#" {"parameters":{"inputs":1},"instances":"#, true),
        (r#"{"inputs":[],"instances":[]}"#, false),
        (r#"{"id":"instances"}"#, false),
        ("", false),
        ("[]", false),
    ] {
        assert_eq!(v1::is_predict(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn status_is_in_the_words_of_both_servers() {
    assert_eq!(v1::model_list(["a", "b\""]), r#"{"models":["a","b\""]}"#);
    let status = v1::model_status(&model_ref("m", Some("2")).unwrap(), &[1, 2]);
    assert_eq!(
        status,
        r#"{"name":"m","ready":true,"model_version_status":[{"version":"2","state":"AVAILABLE","status":{"error_code":"OK","error_message":""}}]}"#
    );
}
