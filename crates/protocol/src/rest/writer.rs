//! JSON written by hand into one buffer.

use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{ParameterValue, Parameters};

/// Why a tensor cannot be written as JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotInJson {
    /// The datatype has no form in it.
    Datatype,
    /// The element at this index is NaN or infinite.
    NotFinite(usize),
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
            ParameterValue::Double(value) if value.is_finite() => {
                out.extend_from_slice(ryu::Buffer::new().format_finite(*value).as_bytes());
            }
            // Parameters are remarks: what JSON cannot carry becomes text rather than an error.
            ParameterValue::Double(value) => string(out, &value.to_string()),
            ParameterValue::String(text) => string(out, text),
        }
    }
}

/// Appends a tensor's elements as a flat list.
///
/// # Errors
/// [`NotInJson`]; what was appended so far is left there.
pub(super) fn data(out: &mut Vec<u8>, tensor: &Tensor) -> Result<(), NotInJson> {
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
        DataType::Fp32 => return floats(out, values(bytes).map(f32::from_le_bytes)),
        DataType::Fp64 => return floats(out, values(bytes).map(f64::from_le_bytes)),
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

/// Appends a float in the shortest form that reads back as the same value; `None` for NaN and infinities.
pub(super) fn float<F: ryu::Float + Finite>(out: &mut Vec<u8>, value: F) -> Option<()> {
    let finite = value.finite();
    if finite {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    }
    finite.then_some(())
}

/// Appends floats in that form.
fn floats<F: ryu::Float + Finite>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = F>,
) -> Result<(), NotInJson> {
    let mut buffer = ryu::Buffer::new();
    out.push(b'[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if !value.finite() {
            return Err(NotInJson::NotFinite(index));
        }
        out.extend_from_slice(buffer.format_finite(value).as_bytes());
    }
    out.push(b']');
    Ok(())
}

pub(super) trait Finite: Copy {
    fn finite(self) -> bool;
}

impl Finite for f32 {
    fn finite(self) -> bool {
        self.is_finite()
    }
}

impl Finite for f64 {
    fn finite(self) -> bool {
        self.is_finite()
    }
}

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
