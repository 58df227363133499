//! JSON written by hand into one buffer.

use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{ParameterValue, Parameters};

use crate::rest::NonFinite;

/// Why a tensor cannot be written as JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotInJson {
    /// The datatype has no form in it.
    Datatype,
    /// The element at this index is not UTF-8.
    NotText(usize),
}

/// Appends a string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(index) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&rest[..index]);
        escape(out, rest[index]);
        rest = &rest[index + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

/// Appends an integer.
pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `separator` and `"key":`. Keys are our own and need no escapes.
pub(super) fn key(out: &mut Vec<u8>, separator: &str, key: &str) {
    out.extend_from_slice(separator.as_bytes());
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a list; `element` writes each item.
pub(super) fn list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut element: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        element(out, item);
    }
    out.push(b']');
}

/// Appends what begins every tensor object: name, datatype and shape.
pub(super) fn tensor_head(out: &mut Vec<u8>, name: &str, datatype: DataType, shape: &Shape) {
    key(out, "{", "name");
    string(out, name);
    key(out, ",", "datatype");
    string(out, datatype.as_str());
    key(out, ",", "shape");
    list(out, shape.iter(), |out, &extent| integer(out, extent));
}

/// Appends `"name":value` for each parameter, `separator` before the first.
pub(super) fn parameters(out: &mut Vec<u8>, mut separator: u8, parameters: &Parameters) {
    for (name, value) in parameters.iter() {
        out.push(separator);
        separator = b',';
        string(out, name);
        out.push(b':');
        match value {
            ParameterValue::Bool(true) => out.extend_from_slice(b"true"),
            ParameterValue::Bool(false) => out.extend_from_slice(b"false"),
            ParameterValue::Int64(value) => integer(out, *value),
            ParameterValue::Uint64(value) => integer(out, *value),
            ParameterValue::Double(value) => float(out, *value, NonFinite::Text),
            ParameterValue::String(text) => string(out, text),
        }
    }
}

/// Appends a tensor's elements as a flat list; those that JSON has no numbers for as `non_finite` says.
///
/// # Errors
/// [`NotInJson`]; what was appended so far is left there.
pub(super) fn data(out: &mut Vec<u8>, tensor: &Tensor, non_finite: NonFinite) -> Result<(), NotInJson> {
    let bytes = &tensor.data()[..];
    match tensor.datatype() {
        DataType::Bool => list(out, bytes, |out, &byte| {
            out.extend_from_slice(if byte == 0 { b"false" } else { b"true" });
        }),
        DataType::Uint8 => list(out, bytes, |out, &byte| integer(out, byte)),
        DataType::Int8 => list(out, bytes, |out, &byte| integer(out, byte.cast_signed())),
        DataType::Uint16 => integers(out, bytes, u16::from_le_bytes),
        DataType::Int16 => integers(out, bytes, i16::from_le_bytes),
        DataType::Uint32 => integers(out, bytes, u32::from_le_bytes),
        DataType::Int32 => integers(out, bytes, i32::from_le_bytes),
        DataType::Uint64 => integers(out, bytes, u64::from_le_bytes),
        DataType::Int64 => integers(out, bytes, i64::from_le_bytes),
        DataType::Fp32 => floats(out, values(bytes).map(f32::from_le_bytes), non_finite),
        DataType::Fp64 => floats(out, values(bytes).map(f64::from_le_bytes), non_finite),
        DataType::Fp16 | DataType::Bf16 => return Err(NotInJson::Datatype),
        DataType::Bytes => return texts(out, tensor),
    }
    Ok(())
}

/// Appends integers of `N` bytes each.
fn integers<const N: usize, I: itoa::Integer>(out: &mut Vec<u8>, bytes: &[u8], read: fn([u8; N]) -> I) {
    list(out, values(bytes), |out, value| integer(out, read(value)));
}

/// The elements of `bytes`, each of `N` bytes.
fn values<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

/// Appends a float in the shortest form that reads back as the same value; NaN and infinities as `non_finite` says.
#[inline]
pub(super) fn float<F: ryu::Float + Float>(out: &mut Vec<u8>, value: F, non_finite: NonFinite) {
    match value.special() {
        None => out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes()),
        Some(name) => special(out, name, non_finite),
    }
}

/// Appends floats in that form.
fn floats<F: ryu::Float + Float>(out: &mut Vec<u8>, values: impl Iterator<Item = F>, non_finite: NonFinite) {
    let mut buffer = ryu::Buffer::new();
    list(out, values, |out, value| match value.special() {
        None => out.extend_from_slice(buffer.format_finite(value).as_bytes()),
        Some(name) => special(out, name, non_finite),
    });
}

#[cold]
fn special(out: &mut Vec<u8>, name: &'static str, non_finite: NonFinite) {
    match non_finite {
        NonFinite::Text => string(out, name),
        NonFinite::Literal => out.extend_from_slice(name.as_bytes()),
        NonFinite::Null => out.extend_from_slice(b"null"),
    }
}

pub(super) const NAN: &str = "NaN";
pub(super) const INFINITY: &str = "Infinity";
pub(super) const MINUS_INFINITY: &str = "-Infinity";

pub(super) trait Float: Copy {
    /// What the value is called where JSON has no number for it.
    fn special(self) -> Option<&'static str>;
}

macro_rules! float {
    ($type:ty) => {
        impl Float for $type {
            #[inline]
            fn special(self) -> Option<&'static str> {
                if self.is_finite() {
                    return None;
                }
                Some(match self {
                    _ if self.is_nan() => NAN,
                    <$type>::INFINITY => INFINITY,
                    _ => MINUS_INFINITY,
                })
            }
        }
    };
}

float!(f32);
float!(f64);

fn texts(out: &mut Vec<u8>, tensor: &Tensor) -> Result<(), NotInJson> {
    out.push(b'[');
    for (index, element) in tensor.bytes_elements().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let text = std::str::from_utf8(element).map_err(|_| NotInJson::NotText(index))?;
        string(out, text);
    }
    out.push(b']');
    Ok(())
}
