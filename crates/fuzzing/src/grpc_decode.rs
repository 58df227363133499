use adulis_protocol::grpc::{self, ModelInferRequest, ModelInferResponse, ModelMetadataResponse};
use bytes::Bytes;
use prost::Message;

use crate::model::told;

/// gRPC messages of requests, as the server takes them off the wire; of responses and metadata, as a client does.
#[must_use]
pub fn grpc_decode(input: &[u8]) -> bool {
    let response = ModelInferResponse::decode(input).map(grpc::decode_response);
    let metadata = ModelMetadataResponse::decode(input).map(grpc::decode_model_metadata);
    let is_other = matches!(response, Ok(Ok(_))) || matches!(metadata, Ok(Ok(_)));
    let message = grpc::decode_message::<ModelInferRequest>(Bytes::copy_from_slice(input));
    let Ok(Ok(request)) = message.map(grpc::decode_infer) else {
        return is_other;
    };
    // What was decoded encodes and decodes to the same.
    let again = grpc::decode_infer(grpc::encode_request(&request)).expect("our own request is read");
    assert_eq!(told(&request), told(&again));
    true
}
