//! What is encoded decodes to the same, for every datatype, over both protocols and in every form.
#![allow(clippy::unwrap_used, reason = "what makes test data is test code too")]

use std::time::Duration;

use adulis_protocol::flatbuffers;
use adulis_protocol::grpc::{self, ModelInferResponse};
use adulis_protocol::model_ref;
use adulis_protocol::rest::v1::{self, PredictFormat};
use adulis_protocol::rest::{self, NonFinite, OutputFormat, RestBody};
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor, append_element};
use adulis_types::{
    CacheDirective, InferRequest, InferResponse, InputTensor, ModelMetadata, Name, OutputTensor,
    ParameterValue, Parameters, RegionPlace, RequestedOutput, Sequence, SequenceId, SharedInput,
    StageTimings, TensorMetadata,
};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;

/// Data that every form can carry: finite floats, UTF-8 text.
fn data(datatype: DataType, count: usize) -> BoxedStrategy<Bytes> {
    fn numbers<T, const N: usize>(
        values: impl Strategy<Value = T> + 'static,
        count: usize,
        write: fn(T) -> [u8; N],
    ) -> BoxedStrategy<Bytes>
    where
        T: std::fmt::Debug + 'static,
    {
        prop::collection::vec(values, count)
            .prop_map(move |values| values.into_iter().flat_map(write).collect::<Vec<u8>>().into())
            .boxed()
    }

    let finite32 = any::<f32>().prop_filter("finite", |value| value.is_finite());
    let finite64 = any::<f64>().prop_filter("finite", |value| value.is_finite());
    match datatype {
        DataType::Bool => numbers(0_u8..2, count, u8::to_le_bytes),
        DataType::Uint8 => numbers(any::<u8>(), count, u8::to_le_bytes),
        DataType::Int8 => numbers(any::<i8>(), count, i8::to_le_bytes),
        DataType::Uint16 | DataType::Fp16 | DataType::Bf16 => numbers(any::<u16>(), count, u16::to_le_bytes),
        DataType::Int16 => numbers(any::<i16>(), count, i16::to_le_bytes),
        DataType::Uint32 => numbers(any::<u32>(), count, u32::to_le_bytes),
        DataType::Int32 => numbers(any::<i32>(), count, i32::to_le_bytes),
        DataType::Uint64 => numbers(any::<u64>(), count, u64::to_le_bytes),
        DataType::Int64 => numbers(any::<i64>(), count, i64::to_le_bytes),
        DataType::Fp32 => numbers(finite32, count, f32::to_le_bytes),
        DataType::Fp64 => numbers(finite64, count, f64::to_le_bytes),
        DataType::Bytes => prop::collection::vec("\\PC{0,6}|[\\x00-\\x7f]{0,6}", count)
            .prop_map(|texts| {
                let mut data = Vec::new();
                for text in texts {
                    append_element(&mut data, text.as_bytes()).unwrap();
                }
                data.into()
            })
            .boxed(),
    }
}

fn tensor() -> impl Strategy<Value = Tensor> {
    (select(&DataType::ALL[..]), prop::collection::vec(0_usize..4, 0..4)).prop_flat_map(
        |(datatype, dimensions)| {
            let shape = Shape::new(&dimensions);
            let count = shape.elements().unwrap();
            data(datatype, count).prop_map(move |data| Tensor::new(datatype, shape.clone(), data).unwrap())
        },
    )
}

/// Tensors with names of their own.
fn tensors() -> impl Strategy<Value = Vec<(String, Tensor)>> {
    prop::collection::vec(("\\PC{1,8}", tensor()), 1..4).prop_map(|list| {
        let name = |(index, (name, tensor))| (format!("{name}{index}"), tensor);
        list.into_iter().enumerate().map(name).collect()
    })
}

fn parameters() -> impl Strategy<Value = Parameters> {
    let value = prop_oneof![
        any::<bool>().prop_map(ParameterValue::Bool),
        any::<i64>().prop_map(ParameterValue::Int64),
        (u64::MAX / 2 + 1..).prop_map(ParameterValue::Uint64),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(ParameterValue::Double),
        "\\PC{0,8}".prop_map(|text| ParameterValue::String(text.into())),
    ];
    // In order of their names, as Protocol Buffers' map gives them back.
    prop::collection::btree_map("x[a-z\"\\\\é]{0,8}", value, 0..3).prop_map(|map| {
        let mut parameters = Parameters::default();
        for (name, value) in map {
            parameters.set(name, value);
        }
        parameters
    })
}

fn sequence() -> impl Strategy<Value = Option<Sequence>> {
    let id = prop_oneof![
        (1_u64..).prop_map(SequenceId::Number),
        // Digits too: they are no number.
        "[0-9]{1,3}|\\PC{1,30}".prop_map(|text| SequenceId::Text(text.into())),
    ];
    prop::option::of((id, any::<bool>(), any::<bool>()).prop_map(|(id, start, end)| Sequence {
        id,
        start,
        end,
    }))
}

fn place() -> impl Strategy<Value = RegionPlace> {
    ("\\PC{1,8}", any::<u64>(), any::<u64>()).prop_map(|(region, offset, byte_size)| RegionPlace {
        region: region.into(),
        offset,
        byte_size,
    })
}

prop_compose! {
    fn request()(
        tensors in tensors(),
        parameters in parameters(),
        requested in prop::collection::vec((parameters(), prop::option::of(place()), 0_usize..3), 0..3),
        places in prop::collection::vec(place(), 0..3),
        (id, version, priority, timeout) in ("\\PC{0,8}", 0_u64..9, 0_u64..3, 0_u64..1000),
        sequence in sequence(),
        cache in select(CacheDirective::NAMES.map(|(_, directive)| directive).to_vec()),
    ) -> InferRequest {
        let mut request = InferRequest::new(model_ref("a model", None).unwrap());
        request.model.version = (version > 0).then_some(version);
        request.id = id.into();
        request.parameters = parameters;
        request.priority = priority;
        request.cache = cache;
        request.sequence = sequence;
        request.timeout = (timeout > 0).then(|| Duration::from_micros(timeout));
        request.inputs = tensors
            .into_iter()
            .map(|(name, tensor)| InputTensor { name: name.into(), tensor })
            .collect();
        let shared = (request.inputs.len()..).zip(places).map(|(index, place)| SharedInput {
            index,
            name: format!("shared {index}").into(),
            datatype: DataType::Fp32,
            shape: Shape::from([index, 2]),
            place,
        });
        request.shared_inputs = shared.collect();
        request.outputs = requested
            .into_iter()
            .enumerate()
            .map(|(index, (parameters, place, classification))| RequestedOutput {
                classification,
                parameters,
                place: place.map(Box::new),
                ..RequestedOutput::new(format!("out {index}"))
            })
            .collect();
        request
    }
}

prop_compose! {
    fn response()(
        tensors in tensors(), parameters in parameters(), id in "\\PC{0,8}", version in 1_u64..9,
    ) -> InferResponse {
        InferResponse {
            model_name: "a \"model\"".into(),
            model_version: version,
            id: id.into(),
            parameters,
            outputs: tensors
                .into_iter()
                .map(|(name, tensor)| OutputTensor::new(name, tensor))
                .collect(),
            timings: StageTimings::default(),
            cache: None,
            quota: None,
        }
    }
}

/// All of a request but what it is called in the log, the time at which it arrived, what is found out of who sends it, and what
/// only streams are asked.
fn of_request(request: &InferRequest) -> String {
    let InferRequest {
        model,
        id,
        request_id: _,
        identity: _,
        parameters,
        inputs,
        shared_inputs,
        outputs,
        priority,
        highest_priority: _,
        sequence,
        empty_final_response: _,
        cache,
        timeout,
        arrived: _,
        trace: _,
    } = request;
    format!(
        "{model:?} {id:?} {parameters:?} {inputs:?} {shared_inputs:?} {outputs:?} {priority} {sequence:?} {cache:?} {timeout:?}"
    )
}

fn has_no_json(datatype: DataType) -> bool {
    matches!(datatype, DataType::Fp16 | DataType::Bf16)
}

/// A model whose inputs are the outputs of a response.
fn metadata_of(response: &InferResponse) -> ModelMetadata {
    let input = |output: &OutputTensor| TensorMetadata {
        name: output.name.clone(),
        datatype: output.tensor.datatype(),
        shape: ShapePattern::default(),
        optional: false,
    };
    ModelMetadata {
        name: "m".into(),
        versions: vec![1],
        platform: "test".into(),
        inputs: response.outputs.iter().map(input).collect(),
        outputs: Vec::new(),
    }
}

fn joined(body: RestBody) -> (Bytes, Option<usize>) {
    let header = body.header_length;
    assert_eq!(body.total_len(), body.chunks.iter().map(Bytes::len).sum::<usize>());
    let bytes = body.into_bytes();
    serde_json::from_slice::<serde_json::Value>(&bytes[..header.unwrap_or(bytes.len())]).unwrap();
    (bytes, header)
}

proptest! {
    #[test]
    fn requests_over_rest(request in request(), binary_in: bool, binary_out: bool) {
        let (bytes, header) = joined(rest::encode_request(&request, binary_in, binary_out));
        let decoded = rest::decode_infer(request.model.clone(), bytes, header).unwrap();
        prop_assert_eq!(of_request(&decoded.request), of_request(&request));
        prop_assert_eq!(decoded.format.is_binary(0, "out 0"), binary_out);
        prop_assert_eq!(decoded.format.is_binary(7, "another"), binary_out);
    }

    #[test]
    fn requests_over_grpc(request in request()) {
        let decoded = grpc::decode_infer(grpc::encode_request(&request)).unwrap();
        prop_assert_eq!(of_request(&decoded), of_request(&request));
    }

    #[test]
    fn requests_as_protobuf_bodies(request in request()) {
        let body = grpc::encode_request(&request).encode_to_vec();
        let decoded = grpc::decode_body(request.model.clone(), body.into()).unwrap().request;
        prop_assert_eq!(of_request(&decoded), of_request(&request));
    }

    #[test]
    fn responses_as_protobuf_bodies(response in response()) {
        let body = Bytes::from(grpc::encode_body(response.clone()).concat());
        let decoded = grpc::decode_response(ModelInferResponse::decode(body).unwrap()).unwrap();
        prop_assert_eq!(format!("{decoded:?}"), format!("{response:?}"));
    }

    #[test]
    fn requests_as_flatbuffers(request in request()) {
        let body = Bytes::from(flatbuffers::encode_request(&request).unwrap().concat());
        let decoded = flatbuffers::decode_infer(request.model.clone(), &body).unwrap().request;
        prop_assert_eq!(of_request(&decoded), of_request(&request));
        for input in decoded.inputs.iter().filter(|input| !input.tensor.data().is_empty()) {
            let at = input.tensor.data().as_ptr().addr() - body.as_ptr().addr();
            prop_assert_eq!(at % 64, 0);
        }
    }

    #[test]
    fn responses_as_flatbuffers(response in response()) {
        let body = Bytes::from(flatbuffers::encode_infer(response.clone()).unwrap().concat());
        let decoded = flatbuffers::decode_response(&body).unwrap();
        prop_assert_eq!(format!("{decoded:?}"), format!("{response:?}"));
    }

    /// What is answered as `outputs` (`predictions`) and asked again as `inputs` (`instances`) is the same.
    #[test]
    fn tensors_in_v1(response in response(), rows: bool) {
        let mut response = response;
        // Lists tell neither the shape of no elements nor datatypes that JSON has no form for.
        response.outputs.retain(|OutputTensor { tensor, .. }| {
            tensor.elements() > 0 && !has_no_json(tensor.datatype()) && (!rows || !tensor.shape().is_empty())
        });
        let count = response.outputs.first().and_then(|output| output.tensor.shape().rows());
        response.outputs.retain(|output| !rows || output.tensor.shape().rows() == count);
        prop_assume!(!response.outputs.is_empty());
        let format = if rows { PredictFormat::Rows } else { PredictFormat::Columns };
        let body = String::from_utf8(v1::encode_predict(&response, format, NonFinite::Text).unwrap().into()).unwrap();
        let body = body.replacen("predictions", "instances", 1).replacen("outputs", "inputs", 1);
        let metadata = metadata_of(&response);
        let decoded = v1::decode_predict(model_ref("m", None).unwrap(), &metadata, &body.into()).unwrap();
        prop_assert_eq!(decoded.format, format);
        let expected = response.outputs.into_iter().map(|output| (output.name.to_string(), output.tensor));
        let found = decoded.request.inputs.into_iter().map(|input| (input.name.to_string(), input.tensor));
        prop_assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn responses_over_rest(response in response(), binary: Vec<bool>) {
        let mut format = OutputFormat::new(true);
        for (output, binary) in response.outputs.iter().zip(binary) {
            format.set(&*output.name, binary || has_no_json(output.tensor.datatype()));
        }
        let (bytes, header) = joined(rest::encode_infer(response.clone(), &format).unwrap());
        let decoded = rest::decode_response(bytes, header).unwrap();
        prop_assert_eq!(format!("{decoded:?}"), format!("{response:?}"));
    }

    #[test]
    fn responses_over_grpc(response in response()) {
        let decoded = grpc::decode_response(grpc::encode_infer(response.clone())).unwrap();
        prop_assert_eq!(format!("{decoded:?}"), format!("{response:?}"));
    }
}

#[test]
fn binary_tensors_are_not_copied() {
    let tensor = Tensor::new(DataType::Fp32, Shape::from([1, 16]), vec![0; 64].into()).unwrap();
    let response = InferResponse {
        model_name: "m".into(),
        model_version: 1,
        id: Name::default(),
        parameters: Parameters::default(),
        outputs: vec![OutputTensor::new("OUT", tensor.clone())],
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    let body = rest::encode_infer(response.clone(), &OutputFormat::new(true)).unwrap();
    assert_eq!(body.chunks[1].as_ptr(), tensor.data().as_ptr());
    let message = grpc::encode_infer(response);
    assert_eq!(message.raw_output_contents[0].as_ptr(), tensor.data().as_ptr());

    let bytes = body.into_bytes();
    let header = bytes.len() - 64;
    let decoded = rest::decode_response(bytes.clone(), Some(header)).unwrap();
    assert_eq!(decoded.outputs[0].tensor.data().as_ptr(), bytes[header..].as_ptr());
}
