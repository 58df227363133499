use adulis_tensor::{DataType, ShapePattern};
use adulis_types::{InferRequest, InferResponse, ModelMetadata, OutputTensor, StageTimings, TensorMetadata};
use serde::de::IgnoredAny;

/// The datatype that a byte stands for.
pub(crate) fn datatype(byte: u8) -> DataType {
    DataType::ALL[usize::from(byte) % DataType::ALL.len()]
}

/// What a model with these inputs says of itself.
pub(crate) fn metadata(inputs: &[(&str, DataType, ShapePattern)]) -> ModelMetadata {
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

/// The answer of a model that gives back what it is sent.
pub(crate) fn echo(request: InferRequest) -> InferResponse {
    let outputs = request.inputs.into_iter();
    InferResponse {
        model_name: "m".into(),
        model_version: 1,
        id: request.id,
        parameters: request.parameters,
        outputs: outputs.map(|input| OutputTensor::new(input.name.as_str(), input.tensor)).collect(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    }
}

/// Every input's shape is one that the model takes.
pub(crate) fn assert_fits(request: &InferRequest, metadata: &ModelMetadata) {
    for input in &request.inputs {
        let wanted = metadata.inputs.iter().find(|wanted| *wanted.name == *input.name);
        let wanted = wanted.expect("a decoded input is one of the model's");
        assert!(wanted.shape.matches(input.tensor.shape()), "{} {:?}", input.name, input.tensor.shape());
    }
}

/// The inputs as text, which unlike themselves are equal where they hold the same NaN.
pub(crate) fn told(request: &InferRequest) -> String {
    format!("{:?}", request.inputs)
}

/// What our scanner has taken for JSON, another reader does, too.
pub(crate) fn assert_json(text: &[u8]) {
    let read = serde_json::from_slice::<IgnoredAny>(text);
    assert!(read.is_ok(), "what was taken is no JSON: {read:?}");
}
