use adulis_tensor::{Shape, ShapePattern, Tensor};
use adulis_types::{InferRequest, InputTensor, ModelMetadata, ModelRef, Name, Parameters, TensorMetadata};
use bytes::Bytes;
use smallvec::SmallVec;

use super::GenerateProblem;
use crate::error::Parsed;
use crate::parameters::{Wishes, take_fields};
use crate::rest::RestRequest;
use crate::rest::parameter::{self, duplicate};
use crate::rest::scanner::Scanner;
use crate::rest::v1::Column;
use crate::{DecodeError, MAX_PARAMETERS, Problem, Side, TensorLabel};

const ID: &str = "id";
const PARAMETERS: &str = "parameters";

/// Decodes the body of a generate request. `metadata` tells the names, datatypes and shapes of the model's inputs.
///
/// The value of an input's name is its data: a scalar, or a list. A list nested as the model's shape wants it keeps its shape;
/// other data is laid out in it, row-major: fixed dimensions first, what is left in the innermost open dimension, 1 in all
/// others. `id` is the request's id. All other keys are parameters, and so is what stands in the object `parameters`, unless
/// an input has the name. An empty body, or one of nothing but spaces, is an empty object. Cost: one pass.
///
/// # Errors
/// [`DecodeError`] naming the model, the input, what was expected and what came.
///
/// Source: Triton, "Generate Extension".
pub fn decode_generate(
    model: ModelRef,
    metadata: &ModelMetadata,
    body: &Bytes,
) -> Result<RestRequest, DecodeError> {
    let mut request = InferRequest::new(model);
    match fill(&mut request, metadata, body) {
        // Here every output is in the JSON.
        Ok(wishes) => Ok(RestRequest { request, format: wishes.in_json() }),
        Err(problem) => Err(DecodeError::new(request.model.name, problem)),
    }
}

fn fill(request: &mut InferRequest, metadata: &ModelMetadata, body: &[u8]) -> Parsed<Wishes> {
    let mut scanner = Scanner::new(body);
    if scanner.peek().is_none() {
        return Ok(Wishes::default());
    }
    let mut object =
        Object { inputs: &metadata.inputs, found: Vec::new(), parameters: Parameters::default() };
    let (mut id, mut nested) = (None, false);
    scanner.object(|scanner, key| match key {
        ID if !object.is_input(key) => {
            let text = Name::from(scanner.string()?.as_ref());
            parameter::once(&mut id, key, text)
        }
        PARAMETERS if object.is_input(key) => Err(Box::new(GenerateProblem::ParametersInput.into())),
        PARAMETERS if nested => Err(duplicate(key)),
        PARAMETERS => {
            nested = true;
            scanner.object(|scanner, key| object.member(scanner, key))
        }
        _ => object.member(scanner, key),
    })?;
    scanner.finish()?;
    request.id = id.unwrap_or_default();
    request.inputs = object.found;
    request.parameters = object.parameters;
    take_fields(request)
}

/// What was read of the request's object so far.
struct Object<'a> {
    inputs: &'a [TensorMetadata],
    found: Vec<InputTensor>,
    parameters: Parameters,
}

impl Object<'_> {
    fn is_input(&self, key: &str) -> bool {
        self.inputs.iter().any(|input| *input.name == *key)
    }

    /// Reads the value of an input or of a parameter.
    fn member(&mut self, scanner: &mut Scanner<'_>, key: &str) -> Parsed<()> {
        let Some(index) = self.inputs.iter().position(|input| *input.name == *key) else {
            return self.parameter(scanner, key);
        };
        let input = &self.inputs[index];
        let label = || TensorLabel { side: Side::Input, index, name: Some(key.into()) };
        if self.found.iter().any(|found| found.name == key) {
            return Err(Box::new(Problem::DuplicateTensor { tensor: label() }));
        }
        let mut column = Column::new(index, input);
        column.read_all(scanner)?;
        let tensor = column.into_tensor()?;
        let count = tensor.elements();
        let Some(tensor) = laid_out(tensor, &input.shape) else {
            let shape = input.shape.clone();
            return Err(Box::new(GenerateProblem::Shape { input: label(), count, shape }.into()));
        };
        self.found.push(InputTensor { name: key.into(), tensor });
        Ok(())
    }

    fn parameter(&mut self, scanner: &mut Scanner<'_>, key: &str) -> Parsed<()> {
        if self.parameters.iter().count() >= MAX_PARAMETERS {
            return Err(Box::new(Problem::TooMany { what: "parameters", limit: MAX_PARAMETERS }));
        }
        let value = parameter::read(scanner, key)?;
        if self.parameters.get(key).is_some() {
            return Err(duplicate(key));
        }
        self.parameters.set(key, value);
        Ok(())
    }
}

/// The tensor in the shape that the model wants; `None` where its elements cannot be laid out so.
fn laid_out(tensor: Tensor, pattern: &ShapePattern) -> Option<Tensor> {
    if pattern.matches(tensor.shape()) {
        return Some(tensor);
    }
    let mut left = tensor.elements();
    let mut extents: SmallVec<[usize; 6]> = SmallVec::new();
    for &dimension in pattern.iter() {
        match usize::try_from(dimension) {
            Err(_) => extents.push(1),
            Ok(0) => return None,
            Ok(extent) if left.is_multiple_of(extent) => {
                left /= extent;
                extents.push(extent);
            }
            Ok(_) => return None,
        }
    }
    match pattern.iter().rposition(|&dimension| dimension < 0) {
        Some(innermost) => extents[innermost] = left,
        None if left != 1 => return None,
        None => {}
    }
    Tensor::new(tensor.datatype(), Shape::new(&extents), tensor.into_data()).ok()
}
