//! What is fuzzed, written once: the body of each target, for the fuzzer and for the tests.
//!
//! A target is a function from bytes that somebody outside has sent to whether they were taken. It must not panic, whatever
//! they are, and it panics itself where what was taken breaks a promise, such as to read back the same. [`TARGETS`] lists
//! them. `fuzz/fuzz_targets` has a program of cargo-fuzz for each, and `tests/bounded` mutates the seeds of each
//! (`fuzz/seeds`) for some seconds on any toolchain, within the ordinary tests.
//!
//! Nothing of the product depends on this crate.

mod cached_value;
mod certificates;
mod compressed_body;
mod config_server;
mod control_decode;
mod credentials;
mod flatbuffers_decode;
mod generate_decode;
mod grpc_decode;
mod grpc_frames;
mod headers;
mod labels;
mod looked_up_cells;
mod model;
mod model_config;
mod protobuf_body;
mod rest_decode;
mod target;
mod token;
mod v1_decode;
mod worker_frames;

pub use cached_value::cached_value;
pub use certificates::certificates;
pub use compressed_body::compressed_body;
pub use config_server::config_server;
pub use control_decode::control_decode;
pub use credentials::credentials;
pub use flatbuffers_decode::flatbuffers_decode;
pub use generate_decode::generate_decode;
pub use grpc_decode::grpc_decode;
pub use grpc_frames::grpc_frames;
pub use headers::headers;
pub use labels::labels;
pub use looked_up_cells::looked_up_cells;
pub use model_config::{config_json, config_pbtxt, config_toml};
pub use protobuf_body::protobuf_body;
pub use rest_decode::rest_decode;
pub use target::{TARGETS, Target};
pub use token::token;
pub use v1_decode::v1_decode;
pub use worker_frames::worker_frames;
