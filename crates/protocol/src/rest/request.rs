use adulis_types::{InferRequest, InputTensor, ModelRef, Name, RequestedOutput, SharedInput};
use bytes::Bytes;

use crate::error::Parsed;
use crate::parameters::{Wishes, requested_output, take_fields};
use crate::rest::OutputFormat;
use crate::rest::parameter::{self, duplicate, once};
use crate::rest::scanner::Scanner;
use crate::rest::tensor::{self, Found};
use crate::tensors::{check_count, check_names, input_names};
use crate::{DecodeError, Problem, Side, TensorLabel, TensorProblem};

/// A decoded request, and the form in which its answer is wanted, as far as that is JSON.
#[derive(Debug, Clone)]
pub struct RestRequest {
    /// The request.
    pub request: InferRequest,
    /// The form of each output.
    pub format: OutputFormat,
}

/// Decodes the body of an inference request.
///
/// `header_length` is the value of [`crate::rest::INFERENCE_HEADER_CONTENT_LENGTH`] where the client sent it: the length of the
/// JSON, after which the binary tensors follow; for a length of 0 there is [`decode_raw`](super::decode_raw). Without it the body
/// is JSON as a whole. Both count the body as it is after decompression.
///
/// Cost: one pass over the JSON; binary tensors are slices of `body`, not copied.
///
/// # Errors
/// [`DecodeError`] naming the model, the input, what was expected and what came.
///
/// Source: Open Inference Protocol v2, REST, and its binary tensor data extension.
pub fn decode_infer(
    model: ModelRef,
    body: Bytes,
    header_length: Option<usize>,
) -> Result<RestRequest, DecodeError> {
    let mut decoded = RestRequest { request: InferRequest::new(model), format: OutputFormat::default() };
    match fill(&mut decoded, body, header_length) {
        Ok(()) => Ok(decoded),
        Err(problem) => Err(DecodeError::new(decoded.request.model.name, problem)),
    }
}

fn fill(decoded: &mut RestRequest, body: Bytes, header_length: Option<usize>) -> Parsed<()> {
    let (json, mut binary) = split(body, header_length)?;
    let mut seen = Seen::default();
    let mut scanner = Scanner::new(&json);
    scanner.object(|scanner, key| seen.read(decoded, scanner, (key, &mut binary)))?;
    scanner.finish()?;
    if seen.inputs.is_none() {
        return Err(Box::new(Problem::Missing { key: "inputs" }));
    }
    if !binary.is_empty() {
        return Err(Box::new(Problem::LeftoverBytes { extra: binary.len() }));
    }
    let Wishes { binary, non_finite } = take_fields(&mut decoded.request)?;
    decoded.format.set_default(binary, non_finite);
    check_names(Side::Input, input_names(&decoded.request))?;
    check_names(Side::Output, decoded.request.outputs.iter().map(|output| &output.name))
}

/// Cuts a body into its JSON and the bytes of its binary tensors.
pub(super) fn split(mut body: Bytes, header_length: Option<usize>) -> Parsed<(Bytes, Bytes)> {
    match header_length {
        Some(header) if header > body.len() => {
            Err(Box::new(Problem::HeaderLength { header, body: body.len() }))
        }
        _ if body.is_empty() => Err(Box::new(Problem::EmptyBody)),
        Some(header) => {
            let binary = body.split_off(header);
            Ok((body, binary))
        }
        None => Ok((body, Bytes::new())),
    }
}

/// Which keys of the request were there.
#[derive(Default)]
struct Seen {
    id: Option<()>,
    parameters: Option<()>,
    inputs: Option<()>,
    outputs: Option<()>,
}

impl Seen {
    #[inline]
    fn read(
        &mut self,
        decoded: &mut RestRequest,
        scanner: &mut Scanner<'_>,
        (key, binary): (&str, &mut Bytes),
    ) -> Parsed<()> {
        let request = &mut decoded.request;
        match key {
            "id" => {
                once(&mut self.id, key, ())?;
                request.id = Name::from(scanner.string()?.as_ref());
                Ok(())
            }
            "parameters" => {
                once(&mut self.parameters, key, ())?;
                request.parameters = parameter::read_all(scanner)?;
                Ok(())
            }
            "inputs" => {
                once(&mut self.inputs, key, ())?;
                scanner.array(|scanner, index| {
                    check_count(Side::Input, index + 1)?;
                    match tensor::read(scanner, (Side::Input, index), binary)? {
                        (name, Found::Here(tensor)) => request.inputs.push(InputTensor { name, tensor }),
                        (name, Found::Shared { datatype, shape, place }) => {
                            request.shared_inputs.push(SharedInput { index, name, datatype, shape, place });
                        }
                    }
                    Ok(())
                })
            }
            "outputs" => {
                once(&mut self.outputs, key, ())?;
                scanner.array(|scanner, index| {
                    check_count(Side::Output, index + 1)?;
                    let output = read_output(scanner, index, &mut decoded.format)?;
                    request.outputs.push(output);
                    Ok(())
                })
            }
            _ => scanner.skip_value(),
        }
    }
}

/// Reads one requested output; the form that it is wanted in goes to `format`.
fn read_output(
    scanner: &mut Scanner<'_>,
    index: usize,
    format: &mut OutputFormat,
) -> Parsed<RequestedOutput> {
    let mut name = None;
    let mut parameters = None;
    scanner.object(|scanner, key| match key {
        "name" => {
            let text = Name::from(scanner.string()?.as_ref());
            once(&mut name, key, text)
        }
        "parameters" if parameters.is_some() => Err(duplicate(key)),
        "parameters" => {
            parameters = Some(parameter::read_all(scanner)?);
            Ok(())
        }
        _ => scanner.skip_value(),
    })?;
    let Some(name) = name else {
        let label = TensorLabel { side: Side::Output, index, name: None };
        return Err(label.problem(TensorProblem::Missing { key: "name" }));
    };
    let (output, binary) = requested_output(name, index, parameters.unwrap_or_default())?;
    if let Some(binary) = binary {
        format.set(output.name.clone(), binary);
    }
    Ok(output)
}
