use adulis_tensor::{DataType, Tensor};
use base64::Engine;

use super::element::{B64, ENGINE};
use crate::rest::NonFinite;
use crate::rest::writer::{self, NotInJson};

/// Lists of a tensor without elements that are written at most: a shape like `[1000000000,0]` takes no data, but ends of
/// lists without end.
const MAX_EMPTY_LISTS: usize = 1 << 16;

/// Names of outputs that end so are always bytes in base64, as TensorFlow Serving has it.
const BYTES_SUFFIX: &str = "_bytes";

/// The elements of a tensor, one after the other as JSON.
pub(super) struct Cells<'a> {
    datatype: DataType,
    rest: &'a [u8],
    non_finite: NonFinite,
    /// Whether byte strings are written in base64 even where they are text.
    base64: bool,
}

impl<'a> Cells<'a> {
    pub(super) fn new(name: &str, tensor: &'a Tensor, non_finite: NonFinite) -> Self {
        Self {
            datatype: tensor.datatype(),
            rest: tensor.data(),
            non_finite,
            base64: name.ends_with(BYTES_SUFFIX),
        }
    }

    /// Appends lists nested as `extents` say, around the elements that come next.
    ///
    /// # Errors
    /// [`NotInJson`]; what was appended so far is left there.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, extents: &[usize]) -> Result<(), NotInJson> {
        let Some((&extent, inner)) = extents.split_first() else {
            return self.element(out);
        };
        out.push(b'[');
        for index in 0..extent {
            if index > 0 {
                out.push(b',');
            }
            self.write(out, inner)?;
        }
        out.push(b']');
        Ok(())
    }

    fn element(&mut self, out: &mut Vec<u8>) -> Result<(), NotInJson> {
        match self.datatype {
            DataType::Bool => {
                out.extend_from_slice(if self.take::<1>() == [0] { b"false" } else { b"true" });
            }
            DataType::Uint8 => writer::integer(out, u8::from_le_bytes(self.take())),
            DataType::Int8 => writer::integer(out, i8::from_le_bytes(self.take())),
            DataType::Uint16 => writer::integer(out, u16::from_le_bytes(self.take())),
            DataType::Int16 => writer::integer(out, i16::from_le_bytes(self.take())),
            DataType::Uint32 => writer::integer(out, u32::from_le_bytes(self.take())),
            DataType::Int32 => writer::integer(out, i32::from_le_bytes(self.take())),
            DataType::Uint64 => writer::integer(out, u64::from_le_bytes(self.take())),
            DataType::Int64 => writer::integer(out, i64::from_le_bytes(self.take())),
            DataType::Fp32 => {
                let value = f32::from_le_bytes(self.take());
                writer::float(out, value, self.non_finite);
            }
            DataType::Fp64 => {
                let value = f64::from_le_bytes(self.take());
                writer::float(out, value, self.non_finite);
            }
            DataType::Fp16 | DataType::Bf16 => return Err(NotInJson::Datatype),
            DataType::Bytes => self.blob(out),
        }
        Ok(())
    }

    /// Takes a number off the front. Tensors are valid: it is there.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (number, rest) =
            self.rest.split_first_chunk().expect("invariant: a tensor has the elements of its shape");
        self.rest = rest;
        *number
    }

    fn blob(&mut self, out: &mut Vec<u8>) {
        let mut elements = adulis_tensor::elements_of(self.rest);
        let element = elements.next().unwrap_or_default();
        self.rest = &self.rest[(size_of::<u32>() + element.len()).min(self.rest.len())..];
        match std::str::from_utf8(element) {
            Ok(text) if !self.base64 => writer::string(out, text),
            _ => {
                writer::key(out, "{", B64);
                writer::string(out, &ENGINE.encode(element));
                out.push(b'}');
            }
        }
    }
}

/// Whether a tensor has so many empty lists that they are not written.
pub(super) fn is_mostly_lists(tensor: &Tensor) -> bool {
    let mut before = tensor.shape().iter().take_while(|&&extent| extent > 0);
    let lists = before.try_fold(1_usize, |product, &extent| product.checked_mul(extent));
    tensor.elements() == 0 && lists.is_none_or(|lists| lists > MAX_EMPTY_LISTS)
}
