//! Protocol Buffers as bodies of plain HTTP requests.
#![no_main]

use adulis_protocol::rest::RestRequest;
use adulis_protocol::{grpc, model_ref};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|input: &[u8]| {
    let model = || model_ref("m", None).expect("no version to be wrong");
    let Ok(RestRequest { request, .. }) = grpc::decode_body(model(), Bytes::copy_from_slice(input)) else {
        return;
    };
    // What was decoded encodes and decodes to the same.
    let body = grpc::encode_request(&request).encode_to_vec();
    let again = grpc::decode_body(model(), body.into()).expect("our own request").request;
    assert_eq!(format!("{:?}", request.inputs), format!("{:?}", again.inputs));
});
