use adulis_protocol::rest::{self, OutputFormat};
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::{InferRequest, ModelRef};
use bytes::Bytes;

use crate::model::{assert_fits, assert_json, datatype, metadata, told};

/// REST bodies: the first two bytes choose the length of the JSON, the rest is the body; 65,535: all of it is JSON. With a
/// length of 0, which says that the body is one tensor's data, its first byte chooses the datatype of that.
#[must_use]
pub fn rest_decode(input: &[u8]) -> bool {
    let Some((&length, body)) = input.split_first_chunk::<2>() else {
        return false;
    };
    let header = match u16::from_le_bytes(length) {
        u16::MAX => None,
        length => Some(usize::from(length)),
    };
    let body = Bytes::copy_from_slice(body);
    let is_response = rest::decode_response(body.clone(), header).is_ok();
    if header == Some(0) {
        return raw(body);
    }
    let Ok(decoded) = rest::decode_infer(ModelRef::latest("m"), body.clone(), header) else {
        return is_response;
    };
    assert_json(&body[..header.unwrap_or(body.len())]);
    // What was decoded encodes and decodes to the same.
    let again = rest::encode_request(&decoded.request, false, false);
    let header = again.header_length;
    let again = rest::decode_infer(ModelRef::latest("m"), again.into_bytes(), header);
    let again = again.expect("our own request is read");
    if !has_nan(&decoded.request) {
        assert_eq!(told(&decoded.request), told(&again.request));
    }
    assert_eq!(again.format, expected_format(&decoded.request));
    true
}

fn raw(mut body: Bytes) -> bool {
    if body.is_empty() {
        return false;
    }
    let datatype = datatype(body.split_to(1)[0]);
    let metadata = metadata(&[("x", datatype, ShapePattern::new(&[-1, 2]))]);
    let Ok(decoded) = rest::decode_raw(ModelRef::latest("m"), &metadata, body) else {
        return false;
    };
    assert_fits(&decoded.request, &metadata);
    true
}

/// Whether an input holds NaN, of which there are many in binary and one in JSON.
fn has_nan(request: &InferRequest) -> bool {
    request.inputs.iter().any(|input| {
        let data = input.tensor.data();
        match input.tensor.datatype() {
            DataType::Fp32 => data.as_chunks().0.iter().any(|bytes| f32::from_le_bytes(*bytes).is_nan()),
            DataType::Fp64 => data.as_chunks().0.iter().any(|bytes| f64::from_le_bytes(*bytes).is_nan()),
            _ => false,
        }
    })
}

/// The form that `encode_request` asks for: JSON for each output.
fn expected_format(request: &InferRequest) -> OutputFormat {
    let mut format = OutputFormat::new(false);
    for output in &request.outputs {
        format.set(output.name.clone(), false);
    }
    format
}
