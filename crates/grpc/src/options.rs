use std::time::Duration;

use adulis_protocol::{HeaderPattern, Pace};
use adulis_types::BodyBudget;

/// Limits and habits of the gRPC frontend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcOptions {
    /// Longest message from a client in bytes, decompressed.
    pub max_request_bytes: usize,
    /// What all messages may hold together, as sent and decompressed; to be shared with what else serves requests.
    pub bodies: BodyBudget,
    /// How slowly a message may arrive: of a unary call from the call on, of a stream from its first byte on.
    pub message_pace: Pace,
    /// Longest message to a client in bytes.
    pub max_response_bytes: usize,
    /// Requests in progress on one `ModelStreamInfer` stream; further ones wait in the client's flow-control window.
    pub max_stream_requests: usize,
    /// The longest that any request may take; a client can only ask for less.
    pub request_timeout: Option<Duration>,
    /// Whether responses are compressed for clients that accept it. Off as in Triton: gRPC's libraries say that they
    /// accept gzip whether or not anybody asked them to, and compressing numbers costs more than it saves.
    pub compress_responses: bool,
    /// Which metadata of a call become parameters of its requests.
    pub forward_metadata: Option<HeaderPattern>,
}

impl Default for GrpcOptions {
    fn default() -> Self {
        Self {
            max_request_bytes: 256 << 20,
            bodies: BodyBudget::default(),
            message_pace: Pace::default(),
            max_response_bytes: usize::MAX,
            max_stream_requests: 64,
            request_timeout: None,
            compress_responses: false,
            forward_metadata: None,
        }
    }
}
