use adulis_types::{InferResponse, Name, OutputTensor, StageTimings};
use bytes::Bytes;

use crate::error::Parsed;
use crate::grpc::contents::{self, Parts};
use crate::grpc::model_infer_response::InferOutputTensor;
use crate::grpc::request::{dimensions, label, raw_contents};
use crate::grpc::{ModelInferResponse, parameter};
use crate::parameters::{SHARED_MEMORY_REGION, of_place};
use crate::tensors::check_count;
use crate::{DecodeError, Side, TensorProblem, model_ref};

/// Encodes a response: every output as raw bytes, without a copy. Those that are in shared memory say where, and have empty
/// raw bytes to keep the places of the others.
#[must_use]
pub fn encode_infer(response: InferResponse) -> ModelInferResponse {
    let mut message = ModelInferResponse {
        model_name: response.model_name.as_ref().to_owned(),
        model_version: response.model_version.to_string(),
        id: response.id.into_string(),
        parameters: parameter::encode(&response.parameters),
        outputs: Vec::with_capacity(response.outputs.len()),
        raw_output_contents: Vec::with_capacity(response.outputs.len()),
    };
    for output in response.outputs {
        let written = output.written.as_deref();
        message.outputs.push(InferOutputTensor {
            name: output.name.as_ref().to_owned(),
            datatype: output.tensor.datatype().as_str().to_owned(),
            shape: dimensions(output.tensor.shape()),
            parameters: written.map(|place| parameter::encode(&of_place(place))).unwrap_or_default(),
            contents: None,
        });
        let data = if written.is_some() { Bytes::new() } else { output.tensor.into_data() };
        message.raw_output_contents.push(data);
    }
    message
}

/// Decodes a response, as a client receives it. Stage timings do not travel and are zero.
///
/// # Errors
/// [`DecodeError`] naming the model, the output, what was expected and what came.
pub fn decode_response(message: ModelInferResponse) -> Result<InferResponse, DecodeError> {
    let model = model_ref(message.model_name.as_str(), Some(&message.model_version))?;
    let mut response = InferResponse {
        model_name: model.name.as_str().into(),
        model_version: model.version.unwrap_or_default(),
        id: Name::default(),
        parameters: adulis_types::Parameters::default(),
        outputs: Vec::new(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    match fill(&mut response, message) {
        Ok(()) => Ok(response),
        Err(problem) => Err(DecodeError::new(model.name, problem)),
    }
}

fn fill(response: &mut InferResponse, message: ModelInferResponse) -> Parsed<()> {
    check_count(Side::Output, message.outputs.len())?;
    response.id = message.id.into();
    response.parameters = parameter::decode(message.parameters)?;
    let mut raw = raw_contents(message.raw_output_contents, message.outputs.len())?;
    for (index, output) in message.outputs.into_iter().enumerate() {
        let parts = Parts { datatype: output.datatype, shape: output.shape, contents: output.contents };
        let tensor = if output.name.is_empty() {
            Err(TensorProblem::Missing { key: "name" })
        } else if output.parameters.contains_key(SHARED_MEMORY_REGION) {
            Err(TensorProblem::InSharedMemory)
        } else {
            contents::tensor(parts, raw.next())
        };
        match tensor {
            Ok(tensor) => response.outputs.push(OutputTensor::new(output.name, tensor)),
            Err(problem) => return Err(label(Side::Output, index, output.name.into()).problem(problem)),
        }
    }
    Ok(())
}
