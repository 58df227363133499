//! An HTTP/1.1 client that does only what a load generator needs: it writes requests that were serialised
//! beforehand, and reads answers without keeping them.

mod body;
mod head;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Answer, Keep};
use crate::connect::{Connector, Stream};
use crate::failure::{Failure, FailureKind};
use crate::timer::Watchdog;
use body::BodyReader;
use head::{Head, parse_head};

/// Bytes that a read may bring at once.
const READ_BYTES: usize = 16 * 1024;

/// Longest head of an answer.
const HEAD_BYTES: usize = 64 * 1024;

/// Most that is kept of the body of an error.
const ERROR_BODY_BYTES: usize = 64 * 1024;

/// Most that is kept of the body of a good answer.
const BODY_BYTES: usize = 1 << 30;

/// One connection, made anew when it breaks.
pub(crate) struct Http1Client {
    connection: Connection,
    watchdog: Watchdog,
}

impl Http1Client {
    /// Connects when the first request is sent. Needs a runtime around it.
    pub(crate) fn new(connector: Connector, timeout: Duration) -> Self {
        Self {
            connection: Connection { connector, stream: None, buffer: BytesMut::with_capacity(READ_BYTES) },
            watchdog: Watchdog::new(timeout),
        }
    }

    /// Sends one whole request, head and body, and reads the answer.
    pub(crate) async fn call(&mut self, request: &[u8], keep: Keep) -> Result<Answer, Failure> {
        let began = Instant::now();
        tokio::select! {
            biased;
            answer = self.connection.exchange(request, keep) => answer,
            () = self.watchdog.expired(began) => Err(Failure::new(FailureKind::Timeout, "no answer in time")),
        }
    }
}

struct Connection {
    connector: Connector,
    /// Taken out during an exchange, so that one which fails or is dropped closes the connection.
    stream: Option<Stream>,
    buffer: BytesMut,
}

impl Connection {
    async fn exchange(&mut self, request: &[u8], keep: Keep) -> Result<Answer, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connector.connect().await?,
        };
        self.buffer.clear();
        let written = write(&mut stream, request).await;
        let head = match (self.read_head(&mut stream).await, written) {
            (Ok(head), _) => head,
            // A server that refuses a long body early answers and closes: only without an answer is it a broken write.
            (Err(_), Err(error)) => return Err(Failure::closed(&error)),
            (Err(failure), Ok(())) => return Err(failure),
        };
        let limit = match (head.is_success(), keep) {
            (false, _) => ERROR_BODY_BYTES,
            (true, Keep::Nothing) => 0,
            (true, Keep::Body) => BODY_BYTES,
        };
        let (body, body_bytes) = self.read_body(&mut stream, &head, limit).await?;
        // What follows a complete answer was not asked for: such a connection is not used again.
        if head.keep_alive && self.buffer.is_empty() {
            self.stream = Some(stream);
        }
        if !head.is_success() {
            return Err(Failure::new(FailureKind::Http(head.status), error_text(&body)));
        }
        Ok(Answer {
            received_bytes: head.bytes + body_bytes,
            header_length: head.inference_header_length,
            cache: head.cache,
            body: Bytes::from(body),
        })
    }

    /// Reads until the head of the final answer is complete, and takes it out of the buffer.
    async fn read_head(&mut self, stream: &mut Stream) -> Result<Head, Failure> {
        loop {
            if let Some(head) = parse_head(&self.buffer)? {
                let _head_bytes = self.buffer.split_to(head.bytes);
                // 1xx is not the answer yet.
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            if self.buffer.len() > HEAD_BYTES {
                return Err(Failure::malformed("the head of the answer has no end"));
            }
            self.fill(stream).await?;
        }
    }

    /// Reads the body that `head` announces; keeps its first `limit` bytes and counts all.
    async fn read_body(
        &mut self,
        stream: &mut Stream,
        head: &Head,
        limit: usize,
    ) -> Result<(Vec<u8>, usize), Failure> {
        let mut reader = BodyReader::new(head.length, limit);
        loop {
            let used = reader.feed(&self.buffer)?;
            if used == self.buffer.len() {
                self.buffer.clear();
            } else {
                let _used = self.buffer.split_to(used);
            }
            if reader.is_complete() {
                return Ok(reader.into_kept());
            }
            match self.fill(stream).await {
                Ok(()) => {}
                Err(failure) if failure.kind == FailureKind::Closed && reader.ends_with_connection() => {
                    return Ok(reader.into_kept());
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn fill(&mut self, stream: &mut Stream) -> Result<(), Failure> {
        self.buffer.reserve(READ_BYTES);
        match stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Failure::new(FailureKind::Closed, "the server closed the connection")),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::closed(&error)),
        }
    }
}

/// Writes all of it, and to the socket: TLS may hold some back.
async fn write(stream: &mut Stream, request: &[u8]) -> std::io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await
}

/// The `error` of a JSON error body, or the body as it is.
fn error_text(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct ErrorBody {
        error: String,
    }
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

#[cfg(test)]
mod tests;
