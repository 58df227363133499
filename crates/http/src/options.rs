use std::time::Duration;

use adulis_protocol::{HeaderPattern, Pace};
use adulis_types::BodyBudget;

/// Limits and habits of the REST frontend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Longest request body in bytes, as sent and after decompression. Triton's default.
    pub max_body_bytes: usize,
    /// Longest body of a request to load a model: models may travel in it.
    pub max_load_bytes: usize,
    /// What all bodies may hold together, as sent and after decompression; to be shared with what else serves requests.
    pub bodies: BodyBudget,
    /// How slowly a request body may arrive.
    pub body_pace: Pace,
    /// The longest that any request may take from its head to its answer; a client can only ask for less.
    pub request_timeout: Option<Duration>,
    /// Which responses are compressed.
    pub compression: ResponseCompression,
    /// Responses shorter than this many bytes are never compressed.
    pub min_compress_bytes: usize,
    /// Which headers of a request become parameters of it.
    pub forward_headers: Option<HeaderPattern>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 << 20,
            max_load_bytes: 512 << 20,
            bodies: BodyBudget::default(),
            body_pace: Pace::default(),
            request_timeout: None,
            compression: ResponseCompression::default(),
            min_compress_bytes: 1024,
            forward_headers: None,
        }
    }
}

/// Which responses are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseCompression {
    /// None.
    Never,
    /// Those to a request whose `Accept-Encoding` names one coding and nothing else, as Triton's clients write it.
    ///
    /// Most HTTP libraries send a list (`gzip, deflate, br`) without being asked; compressing numbers for them costs far
    /// more time than it saves on any network but the slowest.
    #[default]
    Explicit,
    /// Those to any request that accepts gzip or deflate.
    Accepted,
}
