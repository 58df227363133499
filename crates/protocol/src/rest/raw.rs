//! A body that is the bytes of a model's one input, with no JSON before them.

use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferRequest, InputTensor, ModelMetadata, ModelRef, Name, TensorMetadata};
use bytes::{BufMut, Bytes, BytesMut};

use crate::error::Parsed;
use crate::rest::{OutputFormat, RestRequest};
use crate::{DecodeError, Problem, Side, TensorLabel, TensorProblem};

/// Decodes a body that is the data of the only input that `metadata` requires: what a client sends with an
/// [inference header](crate::rest::INFERENCE_HEADER_CONTENT_LENGTH) of length 0. All outputs are answered as binary data.
///
/// Shape: the model's own, in which the one open dimension is as long as the bytes say. Where several are open, the leading one
/// is taken for the batch dimension and is 1. BYTES is a single element, without a length before it.
///
/// Cost: the tensor is the body, not copied; that of BYTES is copied once.
///
/// # Errors
/// [`DecodeError`] naming the model, and the input whose shape the bytes do not fill.
///
/// Source: Triton's binary tensor data extension, raw binary requests.
pub fn decode_raw(
    model: ModelRef,
    metadata: &ModelMetadata,
    body: Bytes,
) -> Result<RestRequest, DecodeError> {
    match only_input(metadata).and_then(|(index, input)| tensor(index, input, body)) {
        Ok(input) => {
            let mut request = InferRequest::new(model);
            request.inputs.push(input);
            Ok(RestRequest { request, format: OutputFormat::new(true) })
        }
        Err(problem) => Err(DecodeError::new(model.name, problem)),
    }
}

fn only_input(metadata: &ModelMetadata) -> Parsed<(usize, &TensorMetadata)> {
    let mut required = metadata.inputs.iter().enumerate().filter(|(_, input)| !input.optional);
    match (required.next(), required.count()) {
        (Some(only), 0) => Ok(only),
        (first, more) => Err(Box::new(Problem::RawInputs { required: usize::from(first.is_some()) + more })),
    }
}

fn tensor(index: usize, input: &TensorMetadata, body: Bytes) -> Parsed<InputTensor> {
    let name = Name::from(&*input.name);
    let label = || TensorLabel { side: Side::Input, index, name: Some(name.clone()) };
    let bytes = body.len();
    let fits = match input.datatype.size_bytes() {
        Some(size) => shape(input, bytes, size).map(|shape| (shape, body)),
        None => element(body).map(|element| (input.shape.fill(1), element)),
    };
    let unfit = || TensorProblem::RawBytes { datatype: input.datatype, shape: input.shape.clone(), bytes };
    let (shape, data) = fits.ok_or_else(|| label().problem(unfit()))?;
    let tensor = Tensor::new(input.datatype, shape, data);
    // Only the shape of a BYTES input can still disagree: one that is not of a single element.
    let tensor = tensor.map_err(|error| match input.datatype {
        DataType::Bytes => label().problem(unfit()),
        _ => label().problem(error.into()),
    })?;
    Ok(InputTensor { name, tensor })
}

/// The shape that so many bytes fill, if there is one.
fn shape(input: &TensorMetadata, bytes: usize, size: usize) -> Option<Shape> {
    let open: Vec<usize> = (0..input.shape.len()).filter(|&axis| input.shape[axis] < 0).collect();
    let deduced = match open[..] {
        [] => None,
        [axis] => Some(axis),
        [0, axis] => Some(axis),
        _ => return None,
    };
    let least = input.shape.fill(1);
    let fixed = least.elements()?.checked_mul(size)?;
    let Some(axis) = deduced else {
        return (fixed == bytes).then_some(least);
    };
    let extent = bytes.checked_div(fixed).filter(|extent| extent.checked_mul(fixed) == Some(bytes))?;
    Some(
        least
            .iter()
            .enumerate()
            .map(|(index, &known)| if index == axis { extent } else { known })
            .collect(),
    )
}

/// The body as one element of BYTES.
fn element(body: Bytes) -> Option<Bytes> {
    let length = u32::try_from(body.len()).ok()?;
    let mut element = BytesMut::with_capacity(body.len().checked_add(size_of::<u32>())?);
    element.put_u32_le(length);
    element.put(body);
    Some(element.freeze())
}

#[cfg(test)]
mod tests;
