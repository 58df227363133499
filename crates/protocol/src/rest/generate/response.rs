use adulis_types::{InferResponse, OutputTensor};
use bytes::Bytes;

use crate::EncodeError;
use crate::rest::NonFinite;
use crate::rest::encode::{capacity, refusal};
use crate::rest::writer::{self, NotInJson};

/// The media type of a body of [`event`]s, as Triton writes it.
pub const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

const ID: &str = "id";
const MODEL_NAME: &str = "model_name";
const MODEL_VERSION: &str = "model_version";

/// Encodes an answer: an object with the request's id, the model's name and version, the answer's parameters, and each output
/// by its name: as a scalar where it has one element, else as a flat list. NaN and infinities are as `non_finite` says.
///
/// # Errors
/// [`EncodeError`] where an output has no form in JSON: FP16 and BF16, byte strings that are not UTF-8.
pub fn encode_generate(response: &InferResponse, non_finite: NonFinite) -> Result<Vec<u8>, EncodeError> {
    let tensors = response.outputs.iter().map(|output| (&output.tensor, false));
    let mut out = Vec::with_capacity(capacity(tensors));
    writer::key(&mut out, "{", MODEL_NAME);
    writer::string(&mut out, &response.model_name);
    writer::key(&mut out, ",", MODEL_VERSION);
    out.push(b'"');
    writer::integer(&mut out, response.model_version);
    out.push(b'"');
    if !response.id.is_empty() {
        writer::key(&mut out, ",", ID);
        writer::string(&mut out, &response.id);
    }
    let mut parameters = response.parameters.clone();
    // A key stands once: an output's name is the output.
    let outputs = response.outputs.iter().map(|output| &*output.name);
    for name in outputs.chain([ID, MODEL_NAME, MODEL_VERSION]) {
        parameters.remove(name);
    }
    writer::parameters(&mut out, b',', &parameters);
    for output in &response.outputs {
        out.push(b',');
        writer::string(&mut out, &output.name);
        out.push(b':');
        value(&mut out, output, non_finite).map_err(|why| refusal(&response.model_name, output, &why))?;
    }
    out.push(b'}');
    Ok(out)
}

fn value(out: &mut Vec<u8>, output: &OutputTensor, non_finite: NonFinite) -> Result<(), NotInJson> {
    let start = out.len();
    writer::data(out, &output.tensor, non_finite)?;
    if output.tensor.elements() == 1 {
        // The brackets around the only element.
        out.remove(start);
        out.pop();
    }
    Ok(())
}

/// One event with a JSON object that is written on one line, as all of ours are.
///
/// Source: WHATWG, "Server-sent events", "Event stream interpretation".
#[must_use]
pub fn event(json: &[u8]) -> Bytes {
    debug_assert!(!json.contains(&b'\n'), "an event's data ends at the end of its line");
    [b"data: ", json, b"\n\n"].concat().into()
}
