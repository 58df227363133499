use adulis_tensor::ShapePattern;
use adulis_types as types;

use crate::error::Parsed;
use crate::grpc::model_metadata_response::TensorMetadata;
use crate::grpc::request::label;
use crate::grpc::{ModelMetadataResponse, ServerMetadataResponse};
use crate::{DecodeError, Problem, Side, tensors};

/// The server's metadata as a message.
#[must_use]
pub fn server_metadata(metadata: &types::ServerMetadata) -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: metadata.name.as_ref().to_owned(),
        version: metadata.version.as_ref().to_owned(),
        extensions: metadata.extensions.iter().map(|name| name.as_ref().to_owned()).collect(),
    }
}

/// A model's metadata as a message.
#[must_use]
pub fn model_metadata(metadata: &types::ModelMetadata) -> ModelMetadataResponse {
    let tensors = |list: &[types::TensorMetadata]| list.iter().map(tensor_metadata).collect();
    ModelMetadataResponse {
        name: metadata.name.as_ref().to_owned(),
        versions: metadata.versions.iter().map(u64::to_string).collect(),
        platform: metadata.platform.as_ref().to_owned(),
        inputs: tensors(&metadata.inputs),
        outputs: tensors(&metadata.outputs),
    }
}

fn tensor_metadata(tensor: &types::TensorMetadata) -> TensorMetadata {
    TensorMetadata {
        name: tensor.name.as_ref().to_owned(),
        datatype: tensor.datatype.as_str().to_owned(),
        shape: tensor.shape.to_vec(),
    }
}

/// A model's metadata, as a client receives it. Whether an input is optional does not travel: none is.
///
/// # Errors
/// [`DecodeError`] for a version or datatype that is none.
pub fn decode_model_metadata(message: ModelMetadataResponse) -> Result<types::ModelMetadata, DecodeError> {
    let model = message.name.clone();
    decode(message).map_err(|problem| DecodeError::new(model, problem))
}

fn decode(message: ModelMetadataResponse) -> Parsed<types::ModelMetadata> {
    let versions: Parsed<Vec<u64>> = message
        .versions
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|_| Box::new(Problem::Version { got: crate::error::excerpt(text.as_bytes()) }))
        })
        .collect();
    Ok(types::ModelMetadata {
        name: message.name.into(),
        versions: versions?,
        platform: message.platform.into(),
        inputs: tensors_of(Side::Input, message.inputs)?,
        outputs: tensors_of(Side::Output, message.outputs)?,
    })
}

fn tensors_of(side: Side, list: Vec<TensorMetadata>) -> Parsed<Vec<types::TensorMetadata>> {
    let tensor = |(index, tensor): (usize, TensorMetadata)| match tensors::datatype_of(&tensor.datatype) {
        Ok(datatype) => Ok(types::TensorMetadata {
            name: tensor.name.into(),
            datatype,
            shape: ShapePattern::new(&tensor.shape),
            optional: false,
        }),
        Err(problem) => Err(label(side, index, tensor.name.into()).problem(problem)),
    };
    list.into_iter().enumerate().map(tensor).collect()
}
