use std::time::Duration;

use adulis_types::ParameterValue;
use bytes::Bytes;

use super::{Answer, BODY_AT, CHECKED_AT, CHECKSUM_AT, LZ4, MAGIC, PLAIN, checksum};
use crate::Key;

/// Which answers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Those of at least this many bytes; `None` for none.
    pub compress_from_bytes: Option<usize>,
}

/// Writes an answer that was computed `computed` after 1970. What compression does not make smaller is left as it is.
#[must_use]
pub fn encode(key: &Key, answer: &Answer, computed: Duration, packing: Packing) -> Bytes {
    let body = body(answer);
    let compressed = packing
        .compress_from_bytes
        .filter(|from| body.len() >= *from)
        .map(|_| lz4_flex::block::compress(&body))
        .filter(|compressed| compressed.len() < body.len());
    let (kind, packed) = match &compressed {
        Some(compressed) => (LZ4, compressed),
        None => (PLAIN, &body),
    };
    let mut value = Vec::with_capacity(BODY_AT + packed.len());
    value.extend_from_slice(&MAGIC);
    value.push(kind);
    value.resize(CHECKED_AT, 0);
    let milliseconds = u64::try_from(computed.as_millis()).unwrap_or(u64::MAX);
    value.extend_from_slice(&milliseconds.to_le_bytes());
    value.extend_from_slice(&(body.len() as u64).to_le_bytes());
    value.extend_from_slice(packed);
    let checksum = checksum(key, kind, &value[CHECKED_AT..]);
    value[CHECKSUM_AT..CHECKED_AT].copy_from_slice(&checksum);
    value.into()
}

fn body(answer: &Answer) -> Vec<u8> {
    let data: usize = answer.outputs.iter().map(|output| output.data().len() + 32).sum();
    let mut body = Vec::with_capacity(data + 16);
    number(&mut body, answer.outputs.len() as u64);
    for output in &answer.outputs {
        text(&mut body, output.datatype().as_str().as_bytes());
        number(&mut body, output.shape().len() as u64);
        for dimension in output.shape().iter() {
            number(&mut body, *dimension as u64);
        }
        text(&mut body, output.data());
    }
    number(&mut body, answer.parameters.iter().count() as u64);
    for (name, value) in answer.parameters.iter() {
        text(&mut body, name.as_bytes());
        parameter(&mut body, value);
    }
    body
}

fn parameter(body: &mut Vec<u8>, value: &ParameterValue) {
    match value {
        ParameterValue::Bool(value) => body.extend_from_slice(&[0, u8::from(*value)]),
        ParameterValue::Int64(value) => {
            body.push(1);
            body.extend_from_slice(&value.to_le_bytes());
        }
        ParameterValue::Uint64(value) => {
            body.push(2);
            body.extend_from_slice(&value.to_le_bytes());
        }
        ParameterValue::Double(value) => {
            body.push(3);
            body.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        ParameterValue::String(value) => {
            body.push(4);
            text(body, value.as_bytes());
        }
    }
}

fn text(body: &mut Vec<u8>, bytes: &[u8]) {
    number(body, bytes.len() as u64);
    body.extend_from_slice(bytes);
}

/// LEB128.
fn number(body: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        // The low seven bits and a sign that more follow.
        body.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    body.push((number & 0x7f) as u8);
}
