use std::sync::Arc;

use adulis_types::{InferResponse, Name, OutputTensor, Parameters, StageTimings};
use bytes::Bytes;

use crate::error::{Parsed, excerpt};
use crate::rest::parameter::{self, once};
use crate::rest::request;
use crate::rest::scanner::Scanner;
use crate::rest::tensor::{self, Found};
use crate::tensors::check_count;
use crate::{DecodeError, Problem, Side, TensorLabel, TensorProblem};

/// Decodes the body of a response, as a client receives it. Stage timings do not travel and are zero.
///
/// Cost: one pass over the JSON; binary tensors are slices of `body`, not copied.
///
/// # Errors
/// [`DecodeError`] naming the model, the output, what was expected and what came; [`Problem::Refused`] for the body of
/// an error.
pub fn decode_response(body: Bytes, header_length: Option<usize>) -> Result<InferResponse, DecodeError> {
    let mut response = InferResponse {
        model_name: Arc::from(""),
        model_version: 0,
        id: Name::default(),
        parameters: Parameters::default(),
        outputs: Vec::new(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    match fill(&mut response, body, header_length) {
        Ok(()) => Ok(response),
        Err(problem) => Err(DecodeError::new(&*response.model_name, problem)),
    }
}

fn fill(response: &mut InferResponse, body: Bytes, header_length: Option<usize>) -> Parsed<()> {
    let (json, mut binary) = request::split(body, header_length)?;
    let mut scanner = Scanner::new(&json);
    let mut outputs = None;
    scanner.object(|scanner, key| match key {
        "model_name" => {
            response.model_name = scanner.string()?.as_ref().into();
            Ok(())
        }
        "model_version" => {
            response.model_version = version(&scanner.string()?)?;
            Ok(())
        }
        "id" => {
            response.id = scanner.string()?.as_ref().into();
            Ok(())
        }
        "parameters" => {
            response.parameters = parameter::read_all(scanner)?;
            Ok(())
        }
        "outputs" => {
            once(&mut outputs, key, ())?;
            scanner.array(|scanner, index| {
                check_count(Side::Output, index + 1)?;
                let (name, found) = tensor::read(scanner, (Side::Output, index), &mut binary)?;
                let Found::Here(tensor) = found else {
                    let label = TensorLabel { side: Side::Output, index, name: Some(name) };
                    return Err(label.problem(TensorProblem::InSharedMemory));
                };
                response.outputs.push(OutputTensor::new(name.as_str(), tensor));
                Ok(())
            })
        }
        "error" => Err(Box::new(Problem::Refused { message: scanner.string()?.into_owned() })),
        _ => scanner.skip_value(),
    })?;
    scanner.finish()?;
    if outputs.is_none() {
        return Err(Box::new(Problem::Missing { key: "outputs" }));
    }
    if !binary.is_empty() {
        return Err(Box::new(Problem::LeftoverBytes { extra: binary.len() }));
    }
    Ok(())
}

fn version(text: &str) -> Parsed<u64> {
    text.parse().map_err(|_| Box::new(Problem::Version { got: excerpt(text.as_bytes()) }))
}
