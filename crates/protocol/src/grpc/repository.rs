//! The index of models, loading and unloading.

use adulis_types::{IndexEntry, IndexQuery, LoadModel, ModelConfigDocument, Name, UnloadModel};
use bytes::Bytes;
use prost::Message as _;

use crate::control::{self, LoadParameter, UNLOAD_DEPENDENTS};
use crate::error::Parsed;
use crate::grpc::model_repository_parameter::ParameterChoice;
use crate::grpc::repository_index_response::ModelIndex;
use crate::grpc::{
    ModelConfig, ModelConfigResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
};
use crate::{DecodeError, Problem};

/// A model's configuration as a message.
///
/// # Errors
/// [`prost::DecodeError`] where the document is not what its type says.
pub fn model_config(document: &ModelConfigDocument) -> Result<ModelConfigResponse, prost::DecodeError> {
    let config = ModelConfig::decode(document.protobuf.clone())?;
    Ok(ModelConfigResponse { config: Some(config) })
}

/// What an index request asks.
#[must_use]
pub fn decode_index_query(message: RepositoryIndexRequest) -> IndexQuery {
    IndexQuery { repository: message.repository_name.into(), ready: message.ready, fresh: true }
}

/// The index as a message.
#[must_use]
pub fn repository_index(entries: &[IndexEntry]) -> RepositoryIndexResponse {
    let entry = |entry: &IndexEntry| ModelIndex {
        name: entry.name.as_ref().to_owned(),
        version: entry.version.map(|version| version.to_string()).unwrap_or_default(),
        state: entry.state.map(|state| state.to_string()).unwrap_or_default(),
        reason: entry.reason.as_ref().to_owned(),
    };
    RepositoryIndexResponse { models: entries.iter().map(entry).collect() }
}

/// Decodes a request to load a model. Files are slices of the message.
///
/// # Errors
/// [`DecodeError`] for unknown parameters and parameters of the wrong type, and for files without a configuration.
pub fn decode_load(message: RepositoryModelLoadRequest) -> Result<LoadModel, DecodeError> {
    let name = Name::from(message.model_name.as_str());
    load(message).map_err(|problem| DecodeError::new(name, problem))
}

fn load(message: RepositoryModelLoadRequest) -> Parsed<LoadModel> {
    control::check_repository(&message.repository_name)?;
    let mut load = LoadModel { name: message.model_name.into(), ..LoadModel::default() };
    let count = message.parameters.len();
    for (name, value) in message.parameters {
        match (LoadParameter::of(&name, count)?, value.parameter_choice) {
            (LoadParameter::Config, Some(ParameterChoice::StringParam(text))) => {
                load.config = Some(Bytes::from(text));
            }
            (LoadParameter::File(path), Some(ParameterChoice::BytesParam(contents))) => {
                load.files.push((path.into(), contents));
            }
            (LoadParameter::Config, other) => return Err(wrong(&name, "a string", other.as_ref())),
            (LoadParameter::File(_), other) => return Err(wrong(&name, "bytes", other.as_ref())),
        }
    }
    control::checked(load)
}

/// Decodes a request to unload a model.
///
/// # Errors
/// [`DecodeError`] for unknown parameters and parameters of the wrong type.
pub fn decode_unload(message: RepositoryModelUnloadRequest) -> Result<UnloadModel, DecodeError> {
    let name = Name::from(message.model_name.as_str());
    unload(message).map_err(|problem| DecodeError::new(name, problem))
}

fn unload(message: RepositoryModelUnloadRequest) -> Parsed<UnloadModel> {
    control::check_repository(&message.repository_name)?;
    let mut unload_dependents = false;
    for (name, value) in message.parameters {
        match (name.as_str(), value.parameter_choice) {
            (UNLOAD_DEPENDENTS, Some(ParameterChoice::BoolParam(flag))) => unload_dependents = flag,
            (UNLOAD_DEPENDENTS, other) => return Err(wrong(&name, "true or false", other.as_ref())),
            _ => return Err(control::unknown(&name, "'unload_dependents'")),
        }
    }
    Ok(UnloadModel { name: message.model_name.into(), unload_dependents })
}

fn wrong(name: &str, expected: &'static str, found: Option<&ParameterChoice>) -> Box<Problem> {
    let found = match found {
        None => "none",
        Some(ParameterChoice::BoolParam(_)) => "true or false",
        Some(ParameterChoice::Int64Param(_)) => "a number",
        Some(ParameterChoice::StringParam(_)) => "a string",
        Some(ParameterChoice::BytesParam(_)) => "bytes",
    };
    let name = crate::error::excerpt(name.as_bytes());
    Box::new(Problem::Parameter { name, expected, found: found.into() })
}

#[cfg(test)]
mod tests;
