//! Protocol Buffers: generated messages, server trait and client of package `inference`, and their conversions.

mod body;
mod codec;
mod contents;
mod metadata;
mod parameter;
mod regions;
mod repository;
mod request;
mod response;
mod settings;
mod statistics;
mod wire;

pub use crate::generated::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
pub use crate::generated::inference::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
pub use crate::generated::inference::*;

/// The schema of all of these as an encoded `FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/inference.bin");

pub use body::{decode_body, encode_body};
pub use codec::{CheckedDecoder, Codec, decode_message};
pub use metadata::{decode_model_metadata, model_metadata, server_metadata};
pub use regions::{decode_region, region_statuses};
pub use repository::{decode_index_query, decode_load, decode_unload, model_config, repository_index};
pub use request::{decode_infer, encode_request, request_bytes};
pub use response::{decode_response, encode_infer};
pub use settings::{decode_log_update, decode_trace_update, log_settings, trace_settings};
pub use statistics::statistics;
