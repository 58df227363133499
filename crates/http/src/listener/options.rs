use std::time::Duration;

use adulis_protocol::Pace;
use adulis_tls::Alpn;

use super::idle::IdleLimits;

/// Limits of a [`super::Listener`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    /// The versions of HTTP that are spoken.
    pub protocols: Protocols,
    /// Connections at a time. One more is answered 503 and closed.
    pub max_connections: usize,
    /// Connections at a time of one IPv4 address or IPv6 network of 64 bits; 0: as many as there may be in all.
    pub max_connections_per_peer: usize,
    /// How long a client may take to begin speaking, and from the first byte of a request's head to its last.
    pub header_read_timeout: Duration,
    /// How long a connection may lie idle before it is told to end, which it then has the same time for.
    pub keep_alive_timeout: Duration,
    /// The least bytes per second of answers that a client must take while some wait for it; 0: any. One that falls behind this
    /// by twice the keep-alive timeout is cut off.
    pub min_answer_rate: usize,
    /// How long requests in progress have to end after a shutdown began.
    pub drain_timeout: Duration,
    /// Most bytes of a request's head (HTTP/1.1) and of a header list (HTTP/2).
    pub max_header_bytes: u32,
    /// Streams at a time on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Streams that a client may reset before they are accepted, before the connection is closed (the rapid-reset attack).
    pub max_pending_accept_reset_streams: usize,
    /// Streams that the server may have reset because of a client's errors, before the connection is closed.
    pub max_local_error_reset_streams: usize,
    /// How often a busy HTTP/2 connection is asked for a sign of life; it has the same time again to answer.
    pub http2_ping_interval: Duration,
}

/// The versions of HTTP that a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocols {
    /// HTTP/1.1, and HTTP/2 for a client that begins with it (prior knowledge), as gRPC's do.
    #[default]
    Both,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

impl Protocols {
    /// What is agreed on in a TLS handshake, the server's own choice first.
    #[must_use]
    pub fn alpn(self) -> Vec<Alpn> {
        match self {
            Protocols::Both => vec![Alpn::Http2, Alpn::Http1],
            Protocols::Http1 => vec![Alpn::Http1],
            Protocols::Http2 => vec![Alpn::Http2],
        }
    }
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            protocols: Protocols::Both,
            max_connections: 16_384,
            max_connections_per_peer: 4096,
            header_read_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            min_answer_rate: Pace::default().bytes_per_second,
            drain_timeout: Duration::from_secs(30),
            max_header_bytes: 64 * 1024,
            max_concurrent_streams: 1024,
            max_pending_accept_reset_streams: 20,
            max_local_error_reset_streams: 1024,
            http2_ping_interval: Duration::from_secs(30),
        }
    }
}

impl ListenerOptions {
    pub(super) fn limits(&self) -> IdleLimits {
        IdleLimits {
            header_read: self.header_read_timeout,
            keep_alive: self.keep_alive_timeout,
            answer_rate: self.min_answer_rate as u64,
        }
    }
}
