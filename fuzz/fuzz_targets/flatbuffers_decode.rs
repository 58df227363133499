//! FlatBuffers bodies of requests and responses.
#![no_main]

use adulis_protocol::rest::RestRequest;
use adulis_protocol::{flatbuffers, model_ref};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let body = Bytes::copy_from_slice(input);
    let _ = flatbuffers::decode_response(&body);
    let model = || model_ref("m", None).expect("no version to be wrong");
    let Ok(RestRequest { request, .. }) = flatbuffers::decode_infer(model(), &body) else {
        return;
    };
    // What was decoded encodes and decodes to the same.
    let again = flatbuffers::encode_request(&request).expect("our own request").concat();
    let again = flatbuffers::decode_infer(model(), &again.into()).expect("our own request").request;
    assert_eq!(format!("{:?}", request.inputs), format!("{:?}", again.inputs));
});
