use adulis_protocol::flatbuffers;
use adulis_protocol::rest::RestRequest;
use adulis_types::ModelRef;
use bytes::Bytes;

use crate::model::told;

/// FlatBuffers bodies of requests and responses: no offset leads out of the buffer, tensors lie in it.
#[must_use]
pub fn flatbuffers_decode(input: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(input);
    let is_response = flatbuffers::decode_response(&body).is_ok();
    let Ok(RestRequest { request, .. }) = flatbuffers::decode_infer(ModelRef::latest("m"), &body) else {
        return is_response;
    };
    for input in &request.inputs {
        let data = input.tensor.data();
        assert!(
            data.is_empty() || body.as_ptr_range().contains(&data.as_ptr()),
            "{} was copied",
            input.name
        );
    }
    // What was decoded encodes and decodes to the same.
    let again = flatbuffers::encode_request(&request).expect("our own request is written").concat();
    let again = flatbuffers::decode_infer(ModelRef::latest("m"), &again.into());
    assert_eq!(told(&request), told(&again.expect("our own request is read").request));
    true
}
