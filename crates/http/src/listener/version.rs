use std::io;
use std::time::Duration;

use adulis_tls::Alpn;
use tokio::net::TcpStream;

use super::Protocols;

/// What an HTTP/2 client with prior knowledge says first.
///
/// Source: RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long to wait for the rest of a preface that came in parts.
const PREFACE_PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

impl Version {
    /// What is spoken inside TLS. A client that agreed on nothing in the handshake speaks HTTP/1.1, but where that is not spoken.
    pub(super) fn agreed(alpn: Option<Alpn>, protocols: Protocols) -> Self {
        match (alpn, protocols) {
            (Some(Alpn::Http2), _) | (None, Protocols::Http2) => Version::Http2,
            (Some(Alpn::Http1), _) | (None, Protocols::Http1 | Protocols::Both) => Version::Http1,
        }
    }
}

/// Tells which version a client speaks from its first bytes, which it leaves in the socket.
///
/// # Errors
/// `UnexpectedEof` where the client is gone.
pub(super) async fn detect(stream: &TcpStream) -> io::Result<Version> {
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(&first[..count]) {
            return Ok(Version::Http1);
        }
        if count == PREFACE.len() {
            return Ok(Version::Http2);
        }
        // The socket stays readable, so that only a timer can wait for more.
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}
