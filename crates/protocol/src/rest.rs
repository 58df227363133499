//! JSON and the binary tensor extension.
//!
//! The JSON of requests and responses is read in one pass by a walker made for it: no tree, no maps, numbers straight
//! into the tensor's bytes. See `docs/protocol.md`.

mod body;
mod cache;
mod data;
mod element;
mod encode;
mod format;
pub mod generate;
mod metadata;
mod number;
mod parameter;
mod raw;
mod regions;
mod repository;
mod request;
mod response;
mod scanner;
mod settings;
mod statistics;
mod tensor;
mod text;
pub mod v1;
mod writer;

pub use body::RestBody;
pub use cache::{cache_purged, cache_report};
pub use encode::{encode_infer, encode_request};
pub use format::{NonFinite, OutputFormat};
pub use metadata::{error_body, model_metadata, readiness, server_metadata};
pub use raw::decode_raw;
pub use regions::{decode_region, region_statuses};
pub use repository::{RepositoryModel, decode_index_query, decode_load, decode_unload, repository_index};
pub use request::{RestRequest, decode_infer};
pub use response::decode_response;
pub use settings::{decode_log_update, decode_trace_update, log_settings, trace_settings};
pub use statistics::statistics;

/// The HTTP header that says how many bytes of a body are JSON, where binary tensors follow. Lower case, as HTTP/2 has it.
pub const INFERENCE_HEADER_CONTENT_LENGTH: &str = "inference-header-content-length";
