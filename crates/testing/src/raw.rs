use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long any one read may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a connection is made of: a socket, or TLS on one.
pub trait RawStream: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> RawStream for S {}

/// An HTTP/1.1 connection on which a test says exactly what it wants.
#[derive(Debug)]
pub struct RawConnection {
    stream: Box<dyn RawStream>,
    received: Vec<u8>,
}

/// A response as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawResponse {
    /// The status.
    pub status: u16,
    /// The head, status line included.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl RawResponse {
    /// The value of a header, by its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl RawConnection {
    /// Connects.
    ///
    /// # Errors
    /// As the system says.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// A connection over a stream that is open already, such as [`tls_connect`](crate::tls_connect)'s.
    #[must_use]
    pub fn over(stream: impl RawStream + 'static) -> Self {
        Self { stream: Box::new(stream), received: Vec::new() }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// As the system says.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a request with a `Content-Length` and reads its response. `headers` are lines without their ends.
    ///
    /// # Errors
    /// As [`RawConnection::receive`].
    pub async fn request(&mut self, line: &str, headers: &[&str], body: &[u8]) -> io::Result<RawResponse> {
        let mut message = format!("{line} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n", body.len());
        for header in headers {
            message.push_str(header);
            message.push_str("\r\n");
        }
        message.push_str("\r\n");
        let mut bytes = message.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes).await?;
        self.receive().await
    }

    /// Reads one response that has a `Content-Length`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the server closes first, `TimedOut` after ten seconds, `InvalidData` for what is no response.
    pub async fn receive(&mut self) -> io::Result<RawResponse> {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.received[..end]).into_owned();
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, head.clone());
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
        let mut response = RawResponse { status, head: head.clone(), body: Vec::new() };
        let length = match response.header("content-length") {
            Some(length) => length.parse().map_err(|_| invalid())?,
            None => 0,
        };
        while self.received.len() < end + length {
            self.fill().await?;
        }
        response.body = self.received[end..end + length].to_vec();
        self.received.drain(..end + length);
        Ok(response)
    }

    /// Whether bytes have come that belong to no complete response.
    #[must_use]
    pub fn is_amid_response(&self) -> bool {
        !self.received.is_empty()
    }

    /// Waits until the server closes, and says whether it did so within `patience`.
    pub async fn closed_within(&mut self, patience: Duration) -> bool {
        let mut sink = [0; 1024];
        timeout(patience, async {
            loop {
                match self.stream.read(&mut sink).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        })
        .await
        .is_ok()
    }

    /// Waits until the server closes, and says whether it took leave: over TLS, whether what came is known to be all.
    ///
    /// # Errors
    /// `UnexpectedEof` where a TLS server just cut the connection; `TimedOut` after ten seconds.
    pub async fn farewell(&mut self) -> io::Result<()> {
        let mut sink = [0; 1024];
        while timeout(PATIENCE, self.stream.read(&mut sink)).await?? > 0 {}
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let count = timeout(PATIENCE, self.stream.read(&mut buffer)).await??;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}
