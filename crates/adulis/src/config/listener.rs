use adulis_http::ListenerOptions;

use super::Config;

impl Config {
    /// What every listener is told.
    #[must_use]
    pub fn listener(&self) -> ListenerOptions {
        let server = &self.server;
        ListenerOptions {
            max_connections: server.max_connections,
            max_connections_per_peer: server.max_connections_per_peer,
            header_read_timeout: server.header_timeout,
            keep_alive_timeout: server.idle_timeout,
            min_answer_rate: server.min_body_rate,
            drain_timeout: server.drain_timeout,
            max_header_bytes: server.max_header_bytes,
            max_concurrent_streams: server.http2.max_concurrent_streams,
            max_pending_accept_reset_streams: server.http2.max_pending_reset_streams,
            max_local_error_reset_streams: server.http2.max_error_reset_streams,
            http2_ping_interval: server.http2.ping_interval,
            ..ListenerOptions::default()
        }
    }
}
