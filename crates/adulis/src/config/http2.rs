//! Limits of HTTP/2, which gRPC always speaks, and REST where its client does.

use std::time::Duration;

use adulis_http::ListenerOptions;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::units::format_duration;

/// Limits of each HTTP/2 connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Config {
    /// Streams at a time: requests in progress, or `ModelStreamInfer` streams.
    pub max_concurrent_streams: u32,
    /// Streams that a client may reset before they are accepted, until its connection is closed.
    pub max_pending_reset_streams: usize,
    /// Streams that the server may have reset because of a client's errors, until the connection is closed.
    pub max_error_reset_streams: usize,
    /// How often the client of a busy connection is asked for a sign of life; it has the same time again to answer.
    pub ping_interval: Duration,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttp2 {
    max_concurrent_streams: Option<i64>,
    max_pending_reset_streams: Option<i64>,
    max_error_reset_streams: Option<i64>,
    ping_interval: Option<String>,
}

const STREAMS: std::ops::RangeInclusive<i64> = 1..=1 << 20;
const PING_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);

impl Default for Http2Config {
    fn default() -> Self {
        let ListenerOptions {
            max_concurrent_streams,
            max_pending_accept_reset_streams,
            max_local_error_reset_streams,
            http2_ping_interval,
            ..
        } = ListenerOptions::default();
        Self {
            max_concurrent_streams,
            max_pending_reset_streams: max_pending_accept_reset_streams,
            max_error_reset_streams: max_local_error_reset_streams,
            ping_interval: http2_ping_interval,
        }
    }
}

impl Check<'_> {
    pub(super) fn http2(&mut self, raw: &RawHttp2, default: &Http2Config) -> Http2Config {
        let mut streams = |name: &str, value| self.whole(format!("server.http2.{name}"), value, STREAMS);
        let max_concurrent_streams = streams("max_concurrent_streams", raw.max_concurrent_streams);
        let max_pending_reset_streams = streams("max_pending_reset_streams", raw.max_pending_reset_streams);
        let max_error_reset_streams = streams("max_error_reset_streams", raw.max_error_reset_streams);
        let ping_interval =
            self.duration("server.http2.ping_interval", raw.ping_interval.as_deref(), &PING_INTERVALS);
        Http2Config {
            max_concurrent_streams: max_concurrent_streams
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(default.max_concurrent_streams),
            max_pending_reset_streams: max_pending_reset_streams.unwrap_or(default.max_pending_reset_streams),
            max_error_reset_streams: max_error_reset_streams.unwrap_or(default.max_error_reset_streams),
            ping_interval: ping_interval.unwrap_or(default.ping_interval),
        }
    }
}

impl Http2Config {
    pub(super) fn print(&self) -> RawHttp2 {
        let count = |count| i64::try_from(count).ok();
        RawHttp2 {
            max_concurrent_streams: Some(i64::from(self.max_concurrent_streams)),
            max_pending_reset_streams: count(self.max_pending_reset_streams),
            max_error_reset_streams: count(self.max_error_reset_streams),
            ping_interval: Some(format_duration(self.ping_interval)),
        }
    }
}
