//! gRPC messages, from their wire form.
#![no_main]

use adulis_protocol::grpc::{self, ModelInferRequest, ModelInferResponse, ModelMetadataResponse};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|input: &[u8]| {
    if let Ok(message) = ModelInferResponse::decode(input) {
        let _ = grpc::decode_response(message);
    }
    if let Ok(message) = ModelMetadataResponse::decode(input) {
        let _ = grpc::decode_model_metadata(message);
    }
    let Ok(message) = ModelInferRequest::decode(input) else {
        return;
    };
    let Ok(request) = grpc::decode_infer(message) else {
        return;
    };
    // What was decoded encodes and decodes to the same.
    let again = grpc::decode_infer(grpc::encode_request(&request)).expect("our own request");
    assert_eq!(format!("{:?}", request.inputs), format!("{:?}", again.inputs));
});
