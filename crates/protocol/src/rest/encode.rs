use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{CacheDirective, InferRequest, InferResponse, Name, OutputTensor, RegionPlace};
use bytes::Bytes;
use smallvec::SmallVec;

use crate::parameters::{
    BINARY_DATA, BINARY_DATA_OUTPUT, BINARY_DATA_SIZE, CACHE_CONTROL, PRIORITY, TIMEOUT, of_output, of_place,
};
use crate::rest::writer::{self, NotInJson};
use crate::rest::{NonFinite, OutputFormat, RestBody};
use crate::{EncodeError, sequence};

/// Bytes of JSON around one tensor, and around all of them, as a first guess at the buffer.
const TENSOR_BYTES: usize = 96;
const HEAD_BYTES: usize = 96;

/// Bytes that an element takes in JSON, about.
const ELEMENT_BYTES: usize = 10;

/// Encodes a response in the form that `format` asks for. Outputs that are in shared memory have a name, a datatype and a
/// shape, and no more: where they are is for the client to know, and Triton's C++ client takes any output with parameters for
/// one with binary data.
///
/// Cost: the JSON is written once; binary tensors are chunks of the body as they are, not copied.
///
/// # Errors
/// [`EncodeError`] where an output is wanted in JSON and has no form in it: FP16 and BF16, byte strings that are not UTF-8.
pub fn encode_infer(response: InferResponse, format: &OutputFormat) -> Result<RestBody, EncodeError> {
    let outside_json = |(index, output): (usize, &OutputTensor)| {
        output.written.is_some() || format.is_binary(index, &output.name)
    };
    let binary: SmallVec<[bool; 8]> = response.outputs.iter().enumerate().map(outside_json).collect();
    let tensors = response.outputs.iter().zip(&binary);
    let mut out =
        Vec::with_capacity(capacity(tensors.clone().map(|(output, &binary)| (&output.tensor, binary))));
    writer::key(&mut out, "{", "model_name");
    writer::string(&mut out, &response.model_name);
    writer::key(&mut out, ",", "model_version");
    out.push(b'"');
    writer::integer(&mut out, response.model_version);
    out.push(b'"');
    if !response.id.is_empty() {
        writer::key(&mut out, ",", "id");
        writer::string(&mut out, &response.id);
    }
    if !response.parameters.is_empty() {
        writer::key(&mut out, ",", "parameters");
        writer::parameters(&mut out, b'{', &response.parameters);
        out.push(b'}');
    }
    writer::key(&mut out, ",", "outputs");
    let mut result = Ok(());
    writer::list(&mut out, tensors, |out, (output, &binary)| {
        if output.written.is_some() {
            writer::tensor_head(out, &output.name, output.tensor.datatype(), output.tensor.shape());
            out.push(b'}');
        } else if result.is_ok() {
            let json = (!binary).then_some(format.non_finite());
            result = tensor(out, &output.name, &output.tensor, json)
                .map_err(|why| refusal(&response.model_name, output, &why));
        }
    });
    result?;
    out.push(b'}');
    let follows = |(output, binary): &(OutputTensor, &bool)| **binary && output.written.is_none();
    let data = response.outputs.into_iter().zip(&binary).filter(follows);
    Ok(RestBody::new(out, data.map(|(output, _)| output.tensor.into_data())))
}

/// Encodes a request, as a client sends it. Inputs that JSON has no form for go as binary data in any case.
#[must_use]
pub fn encode_request(request: &InferRequest, binary_inputs: bool, binary_outputs: bool) -> RestBody {
    let sizes = request.inputs.iter().map(|input| (&input.tensor, binary_inputs));
    let mut out = Vec::with_capacity(capacity(sizes));
    out.push(b'{');
    if !request.id.is_empty() {
        writer::key(&mut out, "", "id");
        writer::string(&mut out, &request.id);
        out.push(b',');
    }
    request_parameters(&mut out, request, binary_outputs);
    let mut binary: SmallVec<[Bytes; 4]> = SmallVec::new();
    writer::key(&mut out, "", "inputs");
    let here = request.inputs.iter().map(Ok);
    writer::list(&mut out, here.chain(request.shared_inputs.iter().map(Err)), |out, input| {
        let input = match input {
            Ok(input) => input,
            Err(shared) => {
                return placed(out, &shared.name, (shared.datatype, &shared.shape), &shared.place);
            }
        };
        let start = out.len();
        if !binary_inputs && tensor(out, &input.name, &input.tensor, Some(NonFinite::Text)).is_ok() {
            return;
        }
        out.truncate(start);
        let written = tensor(out, &input.name, &input.tensor, None);
        debug_assert!(written.is_ok(), "binary data carries every tensor");
        binary.push(input.tensor.data().clone());
    });
    if !request.outputs.is_empty() {
        writer::key(&mut out, ",", "outputs");
        writer::list(&mut out, &request.outputs, |out, output| {
            writer::key(out, "{", "name");
            writer::string(out, &output.name);
            writer::key(out, ",", "parameters");
            writer::key(out, "{", BINARY_DATA);
            out.extend_from_slice(if binary_outputs { b"true" } else { b"false" });
            writer::parameters(out, b',', &of_output(output));
            out.extend_from_slice(b"}}");
        });
    }
    out.push(b'}');
    RestBody::new(out, binary.into_iter())
}

/// Appends the request's parameters and those that its fields stand for, with a comma after them.
fn request_parameters(out: &mut Vec<u8>, request: &InferRequest, binary_outputs: bool) {
    writer::key(out, "", "parameters");
    writer::key(out, "{", BINARY_DATA_OUTPUT);
    out.extend_from_slice(if binary_outputs { b"true" } else { b"false" });
    if request.priority > 0 {
        writer::key(out, ",", PRIORITY);
        writer::integer(out, request.priority);
    }
    if let Some(timeout) = request.timeout {
        writer::key(out, ",", TIMEOUT);
        writer::integer(out, u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
    }
    if let Some(sequence) = &request.sequence {
        writer::parameters(out, b',', &sequence::parameters(sequence));
    }
    if request.cache != CacheDirective::Use {
        writer::key(out, ",", CACHE_CONTROL);
        writer::string(out, request.cache.as_str());
    }
    writer::parameters(out, b',', &request.parameters);
    out.extend_from_slice(b"},");
}

/// Appends one tensor object: with its data, where `json` says how, else with the length of what follows.
fn tensor(out: &mut Vec<u8>, name: &str, tensor: &Tensor, json: Option<NonFinite>) -> Result<(), NotInJson> {
    writer::tensor_head(out, name, tensor.datatype(), tensor.shape());
    if let Some(non_finite) = json {
        writer::key(out, ",", "data");
        writer::data(out, tensor, non_finite)?;
    } else {
        writer::key(out, ",", "parameters");
        writer::key(out, "{", BINARY_DATA_SIZE);
        writer::integer(out, tensor.data().len());
        out.push(b'}');
    }
    out.push(b'}');
    Ok(())
}

/// Appends one tensor object whose data is in shared memory.
fn placed(out: &mut Vec<u8>, name: &str, (datatype, shape): (DataType, &Shape), place: &RegionPlace) {
    writer::tensor_head(out, name, datatype, shape);
    writer::key(out, ",", "parameters");
    writer::parameters(out, b'{', &of_place(place));
    out.extend_from_slice(b"}}");
}

/// A first guess at the bytes of JSON for tensors; those that go as binary data are told.
pub(super) fn capacity<'a>(tensors: impl Iterator<Item = (&'a Tensor, bool)>) -> usize {
    let json = |tensor: &Tensor| match tensor.datatype() {
        DataType::Bytes => tensor.data().len(),
        _ => tensor.elements() * ELEMENT_BYTES,
    };
    HEAD_BYTES
        + tensors
            .map(|(tensor, binary)| TENSOR_BYTES + if binary { 0 } else { json(tensor) })
            .sum::<usize>()
}

/// That an output has no form in JSON.
pub(super) fn refusal(model: &str, output: &OutputTensor, why: &NotInJson) -> EncodeError {
    let (model, name) = (Name::from(model), Name::from(&*output.name));
    match *why {
        NotInJson::Datatype => {
            EncodeError::Datatype { model, output: name, datatype: output.tensor.datatype() }
        }
        NotInJson::NotText(index) => EncodeError::NotText { model, output: name, index },
    }
}
