use adulis_protocol::rest::v1;
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::ModelRef;
use bytes::Bytes;

use crate::model::{datatype, echo, metadata};

/// V1 bodies: the first byte chooses the datatype of one input, the second whether there is another.
#[must_use]
pub fn v1_decode(input: &[u8]) -> bool {
    let Some((&[kind, more], body)) = input.split_first_chunk::<2>() else {
        return false;
    };
    let any = ShapePattern::default;
    let inputs = [("x", datatype(kind), any()), ("y", DataType::Bytes, any())];
    let metadata = metadata(&inputs[..1 + usize::from(more % 2)]);
    let _ = v1::is_predict(body);
    let decoded = v1::decode_predict(ModelRef::latest("m"), &metadata, &Bytes::copy_from_slice(body));
    let Ok(decoded) = decoded else {
        return false;
    };
    // What was asked can be answered.
    let answer = v1::encode_predict(&echo(decoded.request), decoded.format, decoded.non_finite);
    answer.expect("an answer of the same tensors is written");
    true
}
