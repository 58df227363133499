use adulis_protocol::rest::RestRequest;
use adulis_protocol::rest::generate::{decode_generate, encode_generate};
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::ModelRef;
use bytes::Bytes;

use crate::model::{assert_fits, assert_json, datatype, echo, metadata};

const SHAPES: [&[i64]; 6] = [&[], &[1], &[-1], &[-1, 1], &[-1, -1, 2], &[2, 3]];

/// Generate bodies: the first byte chooses the datatype of one input, the second its shape.
#[must_use]
pub fn generate_decode(input: &[u8]) -> bool {
    let Some((&[kind, shape], body)) = input.split_first_chunk::<2>() else {
        return false;
    };
    let shape = ShapePattern::new(SHAPES[usize::from(shape) % SHAPES.len()]);
    let metadata = metadata(&[
        ("x", datatype(kind), shape),
        ("text_input", DataType::Bytes, ShapePattern::new(&[1])),
    ]);
    let decoded = decode_generate(ModelRef::latest("m"), &metadata, &Bytes::copy_from_slice(body));
    let Ok(RestRequest { request, format }) = decoded else {
        return false;
    };
    // Nothing but spaces is an empty object.
    if body.iter().any(|byte| !b" \t\r\n".contains(byte)) {
        assert_json(body);
    }
    assert_fits(&request, &metadata);
    // What was asked can be answered; but bytes that came in base64 may have no form.
    if let Ok(json) = encode_generate(&echo(request), format.non_finite()) {
        assert!(!json.contains(&b'\n'));
    }
    true
}
