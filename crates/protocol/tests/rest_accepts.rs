//! Good REST requests in all the forms that clients write.
#![allow(clippy::unwrap_used, reason = "what makes test data is test code too")]

use std::time::Duration;

use adulis_protocol::rest::{self, OutputFormat, RestRequest};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{
    InferResponse, ModelRef, Name, OutputTensor, ParameterValue, Parameters, Sequence, SequenceId,
    StageTimings,
};
use bytes::Bytes;

fn decode(body: &str) -> RestRequest {
    rest::decode_infer(ModelRef::latest("m"), Bytes::copy_from_slice(body.as_bytes()), None).unwrap()
}

fn first(body: &str) -> Tensor {
    decode(body).request.inputs.remove(0).tensor
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn keys_in_any_order_and_unknown_ones() {
    for fields in [
        r#""datatype":"FP32","shape":[2,2],"data":[1,2.5,-3e2,0.1]"#,
        r#""data":[1,2.5,-3e2,0.1],"shape":[2,2],"datatype":"FP32""#,
        r#""datatype":"FP32","data":[[1,2.5],[-3e2,0.1]],"unknown":{"a":[null,"\u00e9"]},"shape":[2,2]"#,
        r#""datatype":"FP32","shape":[2,2],"data":[[1,2.5],[-300,1e-1]],"parameters":{"other":[1]}"#,
    ] {
        let tensor =
            first(&format!(r#" {{ "later": true, "inputs" : [ {{ {fields} , "name" : "A" }} ] }} "#));
        assert_eq!((tensor.datatype(), tensor.shape()), (DataType::Fp32, &Shape::from([2, 2])));
        assert_eq!(&tensor.data()[..], floats(&[1.0, 2.5, -300.0, 0.1]));
    }
}

#[test]
fn scalars_and_empty_tensors() {
    let read = |shape: &str, data: &str| {
        first(&format!(
            r#"{{"inputs":[{{"name":"A","datatype":"FP32","shape":{shape},"data":{data}}}]}}"#
        ))
    };
    for (shape, data, elements) in [
        ("[]", "[7]", 1),
        ("[]", "7", 1),
        ("[0]", "[]", 0),
        ("[0,3]", "[]", 0),
        ("[2,0]", "[[],[]]", 0),
        ("[2,0,3]", "[[],[]]", 0),
        ("[2,0]", "[]", 0),
        ("[1,1,1]", "[[[7]]]", 1),
    ] {
        assert_eq!(read(shape, data).elements(), elements, "{shape} {data}");
    }
}

#[test]
fn strings_become_bytes_elements() {
    let tensor =
        first(r#"{"inputs":[{"name":"A","datatype":"BYTES","shape":[3],"data":["é\n","","\ud83d\ude00"]}]}"#);
    let elements: Vec<&[u8]> = tensor.bytes_elements().collect();
    assert_eq!(elements, ["é\n".as_bytes(), b"", "😀".as_bytes()]);
}

#[test]
fn parameters_go_where_they_belong() {
    let decoded = decode(
        r#"{"id":"a\"b","parameters":{"priority":2,"timeout":"1500","binary_data_output":true,"y":18446744073709551615,"x":1.5},
            "outputs":[{"name":"O","parameters":{"binary_data":false,"classification":3}},{"name":"P"}],"inputs":[]}"#,
    );
    let request = &decoded.request;
    assert_eq!((request.id.as_str(), request.priority), ("a\"b", 2));
    assert_eq!(request.timeout, Some(Duration::from_micros(1500)));
    let kept: Vec<_> = request.parameters.iter().collect();
    assert_eq!(
        kept,
        [
            ("y", &ParameterValue::Uint64(u64::MAX)),
            ("x", &ParameterValue::Double(1.5))
        ]
    );
    assert_eq!((request.outputs[0].classification, request.outputs[1].classification), (3, 0));
    assert!(request.outputs[0].parameters.is_empty());
    assert!(!decoded.format.is_binary(0, "O"));
    assert!(decoded.format.is_binary(1, "P"));
    assert_eq!(decode(r#"{"parameters":{"timeout":0},"inputs":[]}"#).request.timeout, None);
}

#[test]
fn a_sequence_is_named_by_a_number_or_a_text() {
    let sequence = |parameters: &str| {
        let decoded = decode(&format!(r#"{{"parameters":{{{parameters}}},"inputs":[]}}"#)).request;
        assert!(decoded.parameters.is_empty(), "{:?}", decoded.parameters);
        decoded.sequence
    };
    let of = |id, start, end| Some(Sequence { id, start, end });
    assert_eq!(
        sequence(r#""sequence_id":18446744073709551615,"sequence_start":true"#),
        of(SequenceId::Number(u64::MAX), true, false)
    );
    let text = |text: &str| SequenceId::Text(text.into());
    assert_eq!(sequence(r#""sequence_end":true,"sequence_id":"7""#), of(text("7"), false, true));
    let longest = "é".repeat(64);
    assert_eq!(sequence(&format!(r#""sequence_id":"{longest}""#)), of(text(&longest), false, false));
    for none in [
        "",
        r#""sequence_id":0"#,
        r#""sequence_id":"""#,
        r#""sequence_start":false,"sequence_end":false"#,
        r#""sequence_start":true"#,
        r#""sequence_id":0,"sequence_end":true"#,
    ] {
        assert_eq!(sequence(none), None, "{none}");
    }
}

#[test]
fn binary_and_json_inputs_mix() {
    let json = r#"{"inputs":[
        {"name":"A","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}},
        {"name":"B","datatype":"UINT8","shape":[2],"data":[3,4]},
        {"name":"C","datatype":"FP16","shape":[1],"parameters":{"binary_data_size":2}}]}"#;
    let body = [json.as_bytes(), &[1, 2, 5, 6]].concat();
    let decoded = rest::decode_infer(ModelRef::latest("m"), body.into(), Some(json.len())).unwrap();
    let data: Vec<&[u8]> = decoded.request.inputs.iter().map(|input| &input.tensor.data()[..]).collect();
    assert_eq!(data, [[1, 2], [3, 4], [5, 6]]);
}

fn response(datatype: DataType, shape: [usize; 1], data: Vec<u8>) -> InferResponse {
    InferResponse {
        model_name: "m".into(),
        model_version: 3,
        id: Name::from("é\u{1}"),
        parameters: Parameters::default(),
        outputs: vec![OutputTensor::new(
            "O",
            Tensor::new(datatype, Shape::from(shape), data.into()).unwrap(),
        )],
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    }
}

#[test]
fn responses_as_clients_read_them() {
    let response = response(DataType::Fp32, [4], floats(&[1.0, 0.1, -1e-20, 16_777_216.0]));
    let json = rest::encode_infer(response.clone(), &OutputFormat::new(false)).unwrap();
    assert_eq!(json.header_length, None);
    insta::assert_snapshot!(
        String::from_utf8_lossy(&json.into_bytes()),
        @r#"{"model_name":"m","model_version":"3","id":"é\u0001","outputs":[{"name":"O","datatype":"FP32","shape":[4],"data":[1.0,0.1,-1e-20,16777216.0]}]}"#
    );
    let binary = rest::encode_infer(response, &OutputFormat::new(true)).unwrap();
    assert_eq!(binary.header_length, Some(binary.chunks[0].len()));
    assert_eq!(binary.total_len(), binary.chunks[0].len() + 16);
    insta::assert_snapshot!(
        String::from_utf8_lossy(&binary.chunks[0]),
        @r#"{"model_name":"m","model_version":"3","id":"é\u0001","outputs":[{"name":"O","datatype":"FP32","shape":[4],"parameters":{"binary_data_size":16}}]}"#
    );
}

#[test]
fn numbers_that_json_lacks_are_read_as_strings_and_as_words() {
    let tensor = first(
        r#"{"inputs":[{"name":"A","datatype":"FP32","shape":[7],
            "data":["NaN","Infinity", "-Infinity" ,NaN,Infinity,-Infinity,-1]}]}"#,
    );
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    assert_eq!(tensor.data(), &floats(&[nan, infinity, -infinity, nan, infinity, -infinity, -1.0]));
    let nested =
        first(r#"{"inputs":[{"name":"A","datatype":"FP64","shape":[1,2],"data":[["\u004eaN",-Infinity]]}]}"#);
    let expected = [f64::NAN, f64::NEG_INFINITY].map(f64::to_le_bytes).concat();
    assert_eq!(nested.data(), &expected);
}

#[test]
fn numbers_that_json_lacks_are_written_as_was_asked() {
    let values = floats(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
    let wide = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0].map(f64::to_le_bytes).concat();
    for (parameters, expected) in [
        ("{}", r#""data":["NaN","Infinity","-Infinity",1.0]"#),
        (r#"{"non_finite":"string"}"#, r#""data":["NaN","Infinity","-Infinity",1.0]"#),
        (r#"{"non_finite":"literal"}"#, r#""data":[NaN,Infinity,-Infinity,1.0]"#),
        (r#"{"non_finite":"null"}"#, r#""data":[null,null,null,1.0]"#),
    ] {
        let decoded = decode(&format!(r#"{{"parameters":{parameters},"inputs":[]}}"#));
        assert!(decoded.request.parameters.is_empty());
        for (datatype, data) in [(DataType::Fp32, &values), (DataType::Fp64, &wide)] {
            let body = rest::encode_infer(response(datatype, [4], data.clone()), &decoded.format).unwrap();
            let text = String::from_utf8(body.into_bytes().into()).unwrap();
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
    }
}

#[test]
fn what_json_cannot_carry_is_refused_with_the_way_out() {
    let refusal = |datatype, shape, data| {
        let response = response(datatype, shape, data);
        rest::encode_infer(response, &OutputFormat::new(false)).unwrap_err().to_string()
    };
    let way_out =
        "which has no form in JSON: ask the v2 protocol for binary data (output parameter 'binary_data')";
    assert_eq!(
        refusal(DataType::Bf16, [1], vec![0; 2]),
        format!("model 'm': output 'O' is BF16, {way_out}")
    );
    assert_eq!(
        refusal(DataType::Bytes, [1], vec![1, 0, 0, 0, 0xff]),
        format!("model 'm': output 'O' is not UTF-8 text at element 0, {way_out}")
    );
}

#[test]
fn errors_and_metadata() {
    assert_eq!(rest::error_body("it's \"x\"\n"), r#"{"error":"it's \"x\"\n"}"#);
    let refused =
        rest::decode_response(Bytes::from_static(br#"{"error":"no such model"}"#), None).unwrap_err();
    assert_eq!(refused.to_string(), "no such model");
    let server = adulis_types::ServerMetadata {
        name: "adulis".into(),
        version: "1".into(),
        extensions: vec!["binary_tensor_data".into()],
    };
    assert_eq!(
        rest::server_metadata(&server),
        r#"{"name":"adulis","version":"1","extensions":["binary_tensor_data"]}"#
    );
    let tensor = |name: &str| adulis_types::TensorMetadata {
        name: name.into(),
        datatype: DataType::Fp32,
        shape: adulis_tensor::ShapePattern::new(&[-1, 4]),
        optional: false,
    };
    let model = adulis_types::ModelMetadata {
        name: "m".into(),
        versions: vec![1, 2],
        platform: "onnxruntime_onnx".into(),
        inputs: vec![tensor("I")],
        outputs: vec![tensor("O")],
    };
    assert_eq!(
        rest::model_metadata(&model),
        r#"{"name":"m","versions":["1","2"],"platform":"onnxruntime_onnx","inputs":[{"name":"I","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"O","datatype":"FP32","shape":[-1,4]}]}"#
    );
    let message = adulis_protocol::grpc::model_metadata(&model);
    assert_eq!(adulis_protocol::grpc::decode_model_metadata(message).unwrap(), model);
}
