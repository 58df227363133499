//! V1 bodies: the first byte chooses the datatype of one input, the second whether there is another.
#![no_main]

use adulis_protocol::model_ref;
use adulis_protocol::rest::v1;
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::{
    InferResponse, ModelMetadata, Name, OutputTensor, Parameters, StageTimings, TensorMetadata,
};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[datatype, more], body)) = input.split_first_chunk::<2>() else {
        return;
    };
    let datatype = DataType::ALL[usize::from(datatype) % DataType::ALL.len()];
    let inputs = [("x", datatype), ("y", DataType::Bytes)];
    let metadata = model(&inputs[..1 + usize::from(more % 2)]);
    let _ = v1::is_predict(body);
    let model = model_ref("m", None).expect("no version to be wrong");
    let Ok(decoded) = v1::decode_predict(model, &metadata, &Bytes::copy_from_slice(body)) else {
        return;
    };
    // What was asked can be answered.
    let response = InferResponse {
        model_name: "m".into(),
        model_version: 1,
        id: Name::default(),
        parameters: Parameters::default(),
        outputs: decoded
            .request
            .inputs
            .into_iter()
            .map(|input| OutputTensor::new(input.name.as_str(), input.tensor))
            .collect(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    v1::encode_predict(&response, decoded.format, decoded.non_finite).expect("an answer of the same tensors");
});

fn model(inputs: &[(&str, DataType)]) -> ModelMetadata {
    let input = |(name, datatype): &(&str, DataType)| TensorMetadata {
        name: (*name).into(),
        datatype: *datatype,
        shape: ShapePattern::default(),
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
