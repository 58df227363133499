use std::io;
use std::time::Duration;

use adulis_retry::{Backoff, BackoffOptions};
use adulis_tls::Alpn;
use tokio::net::TcpStream;

use super::Protocols;

/// What an HTTP/2 client with prior knowledge says first.
///
/// Source: RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pauses between looks for the rest of a preface that came in parts.
const PREFACE_PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(1), max_delay: Duration::from_millis(200) };

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
    let mut pauses = Backoff::new(PREFACE_PAUSES);
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
        tokio::time::sleep(pauses.next_delay()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_beginning_without_an_end_is_looked_at_seldom() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b"P").await.unwrap();
        let mut detected = pin!(detect(&server));
        let mut looks = 0;
        let counted = poll_fn(|cx| {
            looks += 1;
            detected.as_mut().poll(cx)
        });
        assert!(tokio::time::timeout(Duration::from_secs(10), counted).await.is_err());
        assert!((20..200).contains(&looks), "{looks} looks in 10 seconds");
        client.write_all(&PREFACE[1..]).await.unwrap();
        assert_eq!(detect(&server).await.unwrap(), Version::Http2);
    }
}
