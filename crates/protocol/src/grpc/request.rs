use std::collections::BTreeMap;

use adulis_tensor::{Shape, Tensor};
use adulis_types::{
    CacheDirective, InferRequest, InputTensor, Name, ParameterValue, RequestedOutput, SharedInput,
};
use bytes::Bytes;
use prost::Message as _;

use crate::error::Parsed;
use crate::grpc::contents::{self, Parts};
use crate::grpc::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::grpc::{InferParameter, ModelInferRequest, parameter};
use crate::parameters::{
    self, CACHE_CONTROL, EMPTY_FINAL_RESPONSE, PRIORITY, SHARED_MEMORY_REGION, TIMEOUT, Wishes, is_of_place,
    of_output, of_place, requested_output,
};
use crate::tensors::{self, check_count, check_names, input_names};
use crate::{DecodeError, Problem, Side, TensorLabel, TensorProblem, model_ref, sequence};

/// Decodes one inference request. Raw contents become tensors without a copy.
///
/// # Errors
/// [`DecodeError`] naming the model, the input, what was expected and what came.
pub fn decode_infer(message: ModelInferRequest) -> Result<InferRequest, DecodeError> {
    let (request, _) = decode(message)?;
    Ok(request)
}

/// About how many bytes of memory a request holds: those of its message, decompressed, and what grows when they are decoded.
#[must_use]
pub fn request_bytes(message: &ModelInferRequest) -> usize {
    let contents = message.inputs.iter().filter_map(|input| input.contents.as_ref());
    message.encoded_len() + contents.map(contents::grown_bytes).sum::<usize>()
}

/// The request, and in which form its answer is wanted, should that be JSON.
pub(super) fn decode(message: ModelInferRequest) -> Result<(InferRequest, Wishes), DecodeError> {
    let model = model_ref(message.model_name.as_str(), Some(&message.model_version))?;
    let mut request = InferRequest::new(model);
    match fill(&mut request, message) {
        Ok(wishes) => Ok((request, wishes)),
        Err(problem) => Err(DecodeError::new(request.model.name, problem)),
    }
}

fn fill(request: &mut InferRequest, message: ModelInferRequest) -> Parsed<Wishes> {
    check_count(Side::Input, message.inputs.len())?;
    check_count(Side::Output, message.outputs.len())?;
    request.id = message.id.into();
    request.parameters = parameter::decode(message.parameters)?;
    let wishes = parameters::take_fields(request)?;

    // Those in shared memory have no raw contents, not even empty ones.
    let here = message.inputs.iter().filter(|input| !is_shared(&input.parameters)).count();
    let mut raw = raw_contents(message.raw_input_contents, here)?;
    request.inputs.reserve_exact(here);
    for (index, input) in message.inputs.into_iter().enumerate() {
        if is_shared(&input.parameters) {
            request.shared_inputs.push(decode_shared(input, index)?);
        } else {
            request.inputs.push(decode_input(input, index, raw.next())?);
        }
    }
    check_names(Side::Input, input_names(request))?;

    request.outputs.reserve_exact(message.outputs.len());
    for (index, output) in message.outputs.into_iter().enumerate() {
        request.outputs.push(decode_output(output, index)?);
    }
    check_names(Side::Output, request.outputs.iter().map(|output| &output.name))?;
    Ok(wishes)
}

/// Whether a tensor with these parameters is said to be in shared memory.
fn is_shared(parameters: &BTreeMap<String, InferParameter>) -> bool {
    parameters.keys().any(|name| is_of_place(name))
}

/// Raw contents, which are there for all tensors or for none.
pub(super) fn raw_contents(raw: Vec<Bytes>, tensors: usize) -> Parsed<std::vec::IntoIter<Bytes>> {
    if !raw.is_empty() && raw.len() != tensors {
        return Err(Box::new(Problem::RawContents { tensors, contents: raw.len() }));
    }
    Ok(raw.into_iter())
}

fn decode_input(input: InferInputTensor, index: usize, raw: Option<Bytes>) -> Parsed<InputTensor> {
    let name = Name::from(input.name);
    let parts = Parts { datatype: input.datatype, shape: input.shape, contents: input.contents };
    let tensor: Result<Tensor, TensorProblem> = if name.is_empty() {
        Err(TensorProblem::Missing { key: "name" })
    } else {
        contents::tensor(parts, raw)
    };
    match tensor {
        Ok(tensor) => Ok(InputTensor { name, tensor }),
        Err(problem) => Err(label(Side::Input, index, name).problem(problem)),
    }
}

fn decode_shared(input: InferInputTensor, index: usize) -> Parsed<SharedInput> {
    let name = Name::from(input.name);
    let place = parameter::place(input.parameters, || label(Side::Input, index, name.clone()))?;
    let parts = || {
        let place = place.ok_or(TensorProblem::Missing { key: SHARED_MEMORY_REGION })?;
        if name.is_empty() {
            return Err(TensorProblem::Missing { key: "name" });
        }
        if let Some(got) = contents::filled(&input.contents.unwrap_or_default()).first() {
            return Err(TensorProblem::BesideSharedMemory { got });
        }
        Ok((tensors::datatype_of(&input.datatype)?, tensors::shape_of(&input.shape)?, place))
    };
    match parts() {
        Ok((datatype, shape, place)) => Ok(SharedInput { index, name, datatype, shape, place }),
        Err(problem) => Err(label(Side::Input, index, name).problem(problem)),
    }
}

/// The label of a tensor that may have come without a name.
pub(super) fn label(side: Side, index: usize, name: Name) -> TensorLabel {
    TensorLabel { side, index, name: (!name.is_empty()).then_some(name) }
}

fn decode_output(output: InferRequestedOutputTensor, index: usize) -> Parsed<RequestedOutput> {
    let name = Name::from(output.name);
    if name.is_empty() {
        return Err(label(Side::Output, index, name).problem(TensorProblem::Missing { key: "name" }));
    }
    let (output, _) = requested_output(name, index, parameter::decode(output.parameters)?)?;
    Ok(output)
}

/// Encodes a request, as a client sends it: every input as raw bytes, without a copy, or by its place in shared memory.
#[must_use]
pub fn encode_request(request: &InferRequest) -> ModelInferRequest {
    let mut parameters = parameter::encode(&request.parameters);
    let count = |value: u64| parameter::parameter(&ParameterValue::count(value));
    if request.priority > 0 {
        parameters.insert(PRIORITY.to_owned(), count(request.priority));
    }
    if let Some(timeout) = request.timeout {
        let microseconds = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        parameters.insert(TIMEOUT.to_owned(), count(microseconds));
    }
    if let Some(sequence) = &request.sequence {
        parameters.extend(parameter::encode(&sequence::parameters(sequence)));
    }
    if request.cache != CacheDirective::Use {
        let directive = ParameterValue::String(request.cache.as_str().into());
        parameters.insert(CACHE_CONTROL.to_owned(), parameter::parameter(&directive));
    }
    if request.empty_final_response {
        let wanted = parameter::parameter(&ParameterValue::Bool(true));
        parameters.insert(EMPTY_FINAL_RESPONSE.to_owned(), wanted);
    }
    ModelInferRequest {
        model_name: request.model.name.to_string(),
        model_version: request.model.version.map(|version| version.to_string()).unwrap_or_default(),
        id: request.id.to_string(),
        parameters,
        inputs: encode_inputs(request),
        outputs: request.outputs.iter().map(encode_output).collect(),
        raw_input_contents: request.inputs.iter().map(|input| input.tensor.data().clone()).collect(),
    }
}

fn encode_inputs(request: &InferRequest) -> Vec<InferInputTensor> {
    let here = request.inputs.iter().map(|input| InferInputTensor {
        name: input.name.to_string(),
        datatype: input.tensor.datatype().as_str().to_owned(),
        shape: dimensions(input.tensor.shape()),
        ..InferInputTensor::default()
    });
    let shared = request.shared_inputs.iter().map(|input| InferInputTensor {
        name: input.name.to_string(),
        datatype: input.datatype.as_str().to_owned(),
        shape: dimensions(&input.shape),
        parameters: parameter::encode(&of_place(&input.place)),
        contents: None,
    });
    here.chain(shared).collect()
}

fn encode_output(output: &RequestedOutput) -> InferRequestedOutputTensor {
    let parameters = parameter::encode(&of_output(output));
    InferRequestedOutputTensor { name: output.name.to_string(), parameters }
}

/// The shape as the messages carry it.
pub(super) fn dimensions(shape: &Shape) -> Vec<i64> {
    shape.iter().map(|&extent| i64::try_from(extent).unwrap_or(i64::MAX)).collect()
}
