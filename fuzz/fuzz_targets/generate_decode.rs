//! Generate bodies: the first byte chooses the datatype of one input, the second its shape.
#![no_main]

use adulis_protocol::model_ref;
use adulis_protocol::rest::RestRequest;
use adulis_protocol::rest::generate::{decode_generate, encode_generate};
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::{
    InferResponse, ModelMetadata, OutputTensor, StageTimings, TensorMetadata,
};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const SHAPES: [&[i64]; 6] = [&[], &[1], &[-1], &[-1, 1], &[-1, -1, 2], &[2, 3]];

fuzz_target!(|input: &[u8]| {
    let Some((&[datatype, shape], body)) = input.split_first_chunk::<2>() else {
        return;
    };
    let datatype = DataType::ALL[usize::from(datatype) % DataType::ALL.len()];
    let shape = ShapePattern::new(SHAPES[usize::from(shape) % SHAPES.len()]);
    let metadata = model(&[
        ("x", datatype, shape.clone()),
        ("text_input", DataType::Bytes, ShapePattern::new(&[1])),
    ]);
    let model = model_ref("m", None).expect("no version to be wrong");
    let Ok(RestRequest { request, format }) = decode_generate(model, &metadata, &Bytes::copy_from_slice(body)) else {
        return;
    };
    for input in &request.inputs {
        let wanted = metadata.inputs.iter().find(|wanted| *wanted.name == *input.name).expect("a known input");
        assert!(wanted.shape.matches(input.tensor.shape()));
    }
    // What was asked can be answered.
    let outputs = request.inputs.into_iter();
    let response = InferResponse {
        model_name: "m".into(),
        model_version: 1,
        id: request.id,
        parameters: request.parameters,
        outputs: outputs.map(|input| OutputTensor::new(input.name.as_str(), input.tensor)).collect(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    // Bytes that came in base64 may have no form.
    if let Ok(json) = encode_generate(&response, format.non_finite()) {
        assert!(!json.contains(&b'\n'));
    }
});

fn model(inputs: &[(&str, DataType, ShapePattern)]) -> ModelMetadata {
    let input = |(name, datatype, shape): &(&str, DataType, ShapePattern)| TensorMetadata {
        name: (*name).into(),
        datatype: *datatype,
        shape: shape.clone(),
        optional: false,
    };
    ModelMetadata {
        name: "m".into(),
        versions: vec![1],
        platform: "fuzz".into(),
        inputs: inputs.iter().map(input).collect(),
        outputs: Vec::new(),
    }
}
