use adulis_types::{InferRequest, ModelMetadata, ModelRef};
use bytes::Bytes;

use super::problem::PredictProblem;
use super::rows::{read_inputs, read_instances};
use crate::error::Parsed;
use crate::parameters::{Wishes, take_fields};
use crate::rest::NonFinite;
use crate::rest::parameter::{self, duplicate, once};
use crate::rest::scanner::Scanner;
use crate::{DecodeError, Problem};

/// A decoded V1 request, and the format that its answer has.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// The request.
    pub request: InferRequest,
    /// The format of its answer.
    pub format: PredictFormat,
    /// How NaN and infinities are written in it.
    pub non_finite: NonFinite,
}

/// How the tensors of a V1 message are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictFormat {
    /// A list of rows: `instances`, answered with `predictions`.
    Rows,
    /// Each tensor as a whole: `inputs`, answered with `outputs`.
    Columns,
}

/// Decodes the body of a V1 request, whose names and datatypes are those that `metadata` tells of the model.
///
/// Shapes: as the lists are nested; in the row format the number of rows is the leading dimension. Cost: one pass.
///
/// # Errors
/// [`DecodeError`] naming the model, the input, what was expected and what came.
///
/// Source: KServe, "V1 Inference Protocol"; TensorFlow Serving, "RESTful API", "Predict API".
pub fn decode_predict(
    model: ModelRef,
    metadata: &ModelMetadata,
    body: &Bytes,
) -> Result<PredictRequest, DecodeError> {
    let mut request = InferRequest::new(model);
    match fill(&mut request, metadata, body) {
        Ok((format, non_finite)) => Ok(PredictRequest { request, format, non_finite }),
        Err(problem) => Err(DecodeError::new(request.model.name, problem)),
    }
}

/// Whether a JSON body is a V1 request in the row format, rather than one of the Open Inference Protocol: which of
/// `instances` and `inputs` comes first. What is neither is not.
///
/// Cost: one pass over what stands before that key, which is little or nothing.
#[must_use]
pub fn is_predict(body: &[u8]) -> bool {
    let mut found = None;
    // The first of the keys ends the look with an error, whatever comes behind it.
    let _ = Scanner::new(body).object(|scanner, key| match key {
        "instances" | "inputs" => {
            found = Some(key == "instances");
            Err(scanner.wrong("no more"))
        }
        _ => scanner.skip_value(),
    });
    found == Some(true)
}

fn fill(
    request: &mut InferRequest,
    metadata: &ModelMetadata,
    body: &[u8],
) -> Parsed<(PredictFormat, NonFinite)> {
    if body.is_empty() {
        return Err(Box::new(Problem::EmptyBody));
    }
    let mut format = None;
    let mut parameters = None;
    let mut signature = None;
    let mut scanner = Scanner::new(body);
    scanner.object(|scanner, key| {
        let (found, read): (_, fn(&mut Scanner<'_>, &[_]) -> _) = match key {
            "instances" => (PredictFormat::Rows, read_instances),
            "inputs" => (PredictFormat::Columns, read_inputs),
            // The only signature is the model's own.
            "signature_name" => {
                return scanner.string().map(drop).and_then(|()| once(&mut signature, key, ()));
            }
            "parameters" => {
                let read = parameter::read_all(scanner)?;
                return once(&mut parameters, key, read);
            }
            _ => return scanner.skip_value(),
        };
        match format {
            None => {
                format = Some(found);
                request.inputs = read(scanner, &metadata.inputs)?;
                Ok(())
            }
            Some(format) if format == found => Err(duplicate(key)),
            Some(_) => Err(Box::new(PredictProblem::TwoForms.into())),
        }
    })?;
    scanner.finish()?;
    request.parameters = parameters.unwrap_or_default();
    // Here every output is in the JSON, whatever the Open Inference Protocol's flag says.
    let Wishes { non_finite, .. } = take_fields(request)?;
    let format = format.ok_or_else(|| Box::new(PredictProblem::NoForm.into()))?;
    Ok((format, non_finite))
}
