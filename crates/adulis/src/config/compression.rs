//! Which responses are compressed.

use adulis_grpc::GrpcOptions;
use adulis_http::{HttpOptions, ResponseCompression};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::check::Check;
use super::units::format_bytes;

/// Which responses are compressed. Requests may always be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionConfig {
    /// REST's.
    pub rest: ResponseCompression,
    /// REST's responses shorter than this many bytes are never compressed.
    pub min_bytes: usize,
    /// gRPC's, for clients that say that they accept it, as their libraries do unasked.
    pub grpc: bool,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCompression {
    rest: Option<String>,
    min_bytes: Option<Value>,
    grpc: Option<bool>,
}

const POLICIES: [(&str, ResponseCompression); 3] = [
    ("never", ResponseCompression::Never),
    ("explicit", ResponseCompression::Explicit),
    ("accepted", ResponseCompression::Accepted),
];

impl Default for CompressionConfig {
    fn default() -> Self {
        let HttpOptions { compression, min_compress_bytes, .. } = HttpOptions::default();
        let GrpcOptions { compress_responses, .. } = GrpcOptions::default();
        Self { rest: compression, min_bytes: min_compress_bytes, grpc: compress_responses }
    }
}

impl Check<'_> {
    pub(super) fn compression(
        &mut self,
        raw: &RawCompression,
        default: &CompressionConfig,
    ) -> CompressionConfig {
        let rest = raw.rest.as_deref();
        CompressionConfig {
            rest: rest
                .and_then(|word| self.word("server.compression.rest", word, &POLICIES))
                .unwrap_or(default.rest),
            min_bytes: self
                .bytes("server.compression.min_bytes", raw.min_bytes.as_ref())
                .unwrap_or(default.min_bytes),
            grpc: raw.grpc.unwrap_or(default.grpc),
        }
    }
}

impl CompressionConfig {
    pub(super) fn print(&self) -> RawCompression {
        let rest = POLICIES.iter().find(|(_, policy)| *policy == self.rest);
        RawCompression {
            rest: rest.map(|(word, _)| (*word).to_owned()),
            min_bytes: Some(Value::String(format_bytes(self.min_bytes))),
            grpc: Some(self.grpc),
        }
    }
}
