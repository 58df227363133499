//! What is said to clients whose connection is not served, in the one form that every HTTP client reads.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a client gets to read it and close.
const PATIENCE: Duration = Duration::from_secs(1);

/// There are as many connections as may be.
pub(super) const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
retry-after: 1\r\nconnection: close\r\ncontent-length: 43\r\n\r\n{\"error\":\"server has too many connections\"}";

/// There are as many connections of this client as may be.
pub(super) const TOO_MANY_OF_PEER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
retry-after: 1\r\nconnection: close\r\ncontent-length: 54\r\n\r\n{\"error\":\"your address has too many connections here\"}";

/// A plain request on a port that speaks TLS.
pub(super) const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
connection: close\r\ncontent-length: 43\r\n\r\n{\"error\":\"this port speaks TLS: use https\"}";

/// Says it and reads until the client closes, so that the answer is not lost to a reset.
pub(super) async fn refuse(mut stream: TcpStream, text: &[u8]) {
    let told = async {
        stream.write_all(text).await?;
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // A client that is gone need not be told.
    let _ = tokio::time::timeout(PATIENCE, told).await;
}

/// Whether a client begins as one of HTTP/1.1 does, which would understand an answer.
///
/// # Errors
/// As the system says.
pub(super) async fn speaks_http1(stream: &TcpStream) -> io::Result<bool> {
    // No method is shorter, and HTTP/2 begins with one that is none.
    let mut first = [0; 3];
    let count = stream.peek(&mut first).await?;
    Ok(first[..count].iter().all(u8::is_ascii_uppercase) && first != *b"PRI")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_length_they_say() {
        for refusal in [TOO_MANY, TOO_MANY_OF_PEER, NOT_TLS] {
            let text = std::str::from_utf8(refusal).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(format!("{head}\r\n").contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        }
    }
}
