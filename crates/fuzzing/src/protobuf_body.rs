use adulis_protocol::grpc;
use adulis_protocol::rest::RestRequest;
use adulis_types::ModelRef;
use bytes::Bytes;
use prost::Message;

use crate::model::told;

/// Protocol Buffers as bodies of plain HTTP requests.
#[must_use]
pub fn protobuf_body(input: &[u8]) -> bool {
    let decoded = grpc::decode_body(ModelRef::latest("m"), Bytes::copy_from_slice(input));
    let Ok(RestRequest { request, .. }) = decoded else {
        return false;
    };
    // What was decoded encodes and decodes to the same.
    let body = grpc::encode_request(&request).encode_to_vec();
    let again = grpc::decode_body(ModelRef::latest("m"), body.into()).expect("our own request is read");
    assert_eq!(told(&request), told(&again.request));
    true
}
