//! Open Inference Protocol v2: codecs between bytes and the values of `adulis-types`.
//!
//! [`rest`] speaks JSON and the binary tensor extension, [`grpc`] Protocol Buffers, [`flatbuffers`] what its name says;
//! [`status`] maps every kind of error
//! to its HTTP status and gRPC code. [`infer`] has a service answer what was decoded, with the tensors that are in shared
//! memory fetched and delivered. There are no sockets, routes or engines here.
//!
//! Invariants:
//! - Everything decoded is hostile: depth, rank, tensor and parameter counts are bounded, arithmetic is overflow-checked,
//!   and memory is only allocated in proportion to bytes that have really come, never to what a shape claims.
//! - What decodes is valid: byte lengths agree with datatype and shape, BOOL bytes are 0 or 1, text is UTF-8.
//! - Binary tensors are never copied, neither in nor out: they are slices of the body or message.
//! - Every refusal names the model, the tensor, what was expected and what came.

#[cfg(target_endian = "big")]
compile_error!("tensors travel little-endian, and this crate hands out native numbers as they are");

mod body;
mod cache;
mod control;
mod error;
pub mod flatbuffers;
mod generated;
pub mod grpc;
mod headers;
mod limits;
mod pace;
mod parameters;
mod regions;
pub mod rest;
mod sequence;
mod settings;
mod shared;
mod statistics;
pub mod status;
mod tensors;
mod version;

pub use cache::{cache_report, purge_cache};
pub use control::ControlProblem;
pub use error::{DecodeError, EncodeError, Found, Problem, Side, TensorLabel, TensorProblem};
pub use headers::{HeaderPattern, HeaderPatternError};
pub use limits::{MAX_DEPTH, MAX_LOAD_PARAMETERS, MAX_PARAMETERS, MAX_RANK, MAX_TENSORS};
pub use pace::{Late, Pace};
pub use regions::{
    cuda_region_refused, no_cuda_regions, region_statuses, register_region, unregister_regions,
};
pub use settings::{
    SettingProblem, log_settings, trace_settings, update_log_settings, update_trace_settings,
};
pub use shared::{SharedTensorError, infer, infer_stream};
pub use version::model_ref;
