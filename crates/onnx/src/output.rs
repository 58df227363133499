use std::ptr::{self, NonNull};
use std::slice;

use adulis_backend::{BackendError, TensorSpec};
use adulis_tensor::{DataType, Shape, Tensor, append_element};
use bytes::Bytes;
use ort::sys;

use crate::api::{OrtError, call};
use crate::datatype::element_of;
use crate::input::Range;
use crate::value::Value;

/// Outputs up to this size are copied out, so that no small piece of the shared arena stays in use for as long as a
/// response, or a cache that holds it, lives. The size is a choice, not a measured optimum.
const COPY_BYTES: usize = 4096;

/// Takes the value of one output over as a tensor that shares the engine's memory (or a copy, where small).
///
/// `inputs` are the ranges that the run's inputs point at: an output that passes an input through is copied, because the
/// engine would hand out memory that is not its own.
pub(crate) fn take(
    value: *mut sys::OrtValue,
    spec: &TensorSpec,
    inputs: &[Range],
) -> Result<Tensor, BackendError> {
    let tensor = NonNull::new(value)
        .ok_or_else(|| OrtError("the model did not produce it".to_owned()))
        // SAFETY: the run gave the value to this call alone.
        .map(|value| unsafe { Value::from_raw(value) })
        .and_then(|value| tensor_of(value, spec.datatype, inputs));
    tensor.map_err(|error| BackendError::Execution { reason: format!("output {:?}: {error}", spec.name) })
}

fn tensor_of(value: Value, datatype: DataType, inputs: &[Range]) -> Result<Tensor, OrtError> {
    let shape = shape_of(&value, datatype)?;
    let elements = shape.elements().ok_or_else(|| OrtError(format!("shape {shape} overflows")))?;
    let data = match datatype.size_bytes() {
        None => strings_of(&value, elements)?.into(),
        Some(size) => {
            let length =
                elements.checked_mul(size).ok_or_else(|| OrtError(format!("shape {shape} overflows")))?;
            data_of(value, length, inputs)?
        }
    };
    Tensor::new(datatype, shape, data).map_err(|error| OrtError(error.to_string()))
}

fn shape_of(value: &Value, datatype: DataType) -> Result<Shape, OrtError> {
    let (mut element, mut dimensions, mut rank) = (0_i32, ptr::null(), 0);
    // SAFETY: the value is live; the type is written as a plain number; the dimensions belong to the value and are
    // copied before it goes.
    let shape: Option<Shape> = unsafe {
        call!(GetTensorElementTypeAndShapeDataReference(
            value.as_ptr(),
            (&raw mut element).cast(),
            &raw mut dimensions,
            &raw mut rank
        ))?;
        let dimensions = if rank == 0 { &[][..] } else { slice::from_raw_parts(dimensions, rank) };
        dimensions
            .iter()
            .map(|&dimension: &i64| usize::try_from(dimension).ok())
            .collect::<Option<Vec<_>>>()
            .map(|dimensions| Shape::new(&dimensions))
    };
    if element != element_of(datatype) as i32 {
        return Err(OrtError(format!("expected {datatype}, got ONNX type {element}")));
    }
    shape.ok_or_else(|| OrtError("it has a negative dimension".to_owned()))
}

fn data_of(value: Value, length: usize, inputs: &[Range]) -> Result<Bytes, OrtError> {
    if length == 0 {
        return Ok(Bytes::new());
    }
    let mut data = ptr::null_mut();
    // SAFETY: the value is a live tensor of a fixed-size datatype.
    unsafe { call!(GetTensorMutableData(value.as_ptr(), &raw mut data)) }?;
    let data = NonNull::new(data.cast::<u8>()).ok_or_else(|| OrtError("it has no data".to_owned()))?;
    let memory = OutputMemory { _value: value, data, length };
    let bytes = memory.as_ref();
    let borrowed = inputs.iter().any(|&input| input.overlaps(Range::of(bytes)));
    if borrowed || length <= COPY_BYTES {
        return Ok(Bytes::copy_from_slice(bytes));
    }
    Ok(Bytes::from_owner(memory))
}

/// The memory of an output, held by its value.
struct OutputMemory {
    _value: Value,
    data: NonNull<u8>,
    length: usize,
}

// SAFETY: the value may move between threads (see `Value`), and the pointer goes with it.
unsafe impl Send for OutputMemory {}

impl AsRef<[u8]> for OutputMemory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the tensor has `length` bytes on the CPU, where a run leaves outputs that it allocates; it is
        // initialised, and after the run nobody writes to it. The value keeps it alive as long as `self`.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }
}

/// The elements of a string tensor in wire form.
fn strings_of(value: &Value, elements: usize) -> Result<Vec<u8>, OrtError> {
    if elements == 0 {
        return Ok(Vec::new());
    }
    let mut length = 0;
    let mut offsets = vec![0_usize; elements];
    // SAFETY: the value is a live string tensor of `elements` elements; the buffers have the lengths passed with them.
    let text = unsafe {
        call!(GetStringTensorDataLength(value.as_ptr(), &raw mut length))?;
        let mut text = vec![0_u8; length];
        call!(GetStringTensorContent(
            value.as_ptr(),
            text.as_mut_ptr().cast(),
            length,
            offsets.as_mut_ptr(),
            elements
        ))?;
        text
    };
    let mut wire = Vec::with_capacity(length + elements * 4);
    let ends = offsets.iter().skip(1).copied().chain([length]);
    for (start, end) in offsets.iter().copied().zip(ends) {
        let element =
            text.get(start..end).ok_or_else(|| OrtError("its elements are out of order".to_owned()))?;
        append_element(&mut wire, element).map_err(|error| OrtError(error.to_string()))?;
    }
    Ok(wire)
}
