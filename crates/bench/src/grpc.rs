//! A gRPC client on bare HTTP/2 streams: messages are serialised beforehand, answers are not decoded unless asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::sync::Mutex;

use crate::cached::{CACHE_FIELD, CacheOutcome};
use crate::client::{Answer, Keep, USER_AGENT};
use crate::connect::Connector;
use crate::failure::{Failure, FailureKind};
use crate::timer::Watchdog;

/// Receive window per stream and per connection: large enough that flow control never slows a server down.
const WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// Compression flag and length before each message.
const PREFIX_BYTES: usize = 5;

/// Longest answer that is kept.
const ANSWER_BYTES: usize = 1 << 30;

/// `message` as gRPC frames it: a zero byte (not compressed), the length in 32 bits big-endian, the message.
///
/// Returns `None` where the length does not fit.
pub(crate) fn frame(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put_slice(message);
    Some(framed.freeze())
}

/// One HTTP/2 connection whose streams several clients share; made anew when it breaks.
pub(crate) struct GrpcConnection {
    connector: Connector,
    current: Mutex<Option<Numbered>>,
}

/// A connection with its number, so that of several streams that see it break only the first one drops it.
#[derive(Clone)]
struct Numbered {
    number: u64,
    sender: SendRequest<Bytes>,
}

impl GrpcConnection {
    /// Connects when the first request is sent.
    pub(crate) fn new(connector: Connector) -> Arc<Self> {
        Arc::new(Self { connector, current: Mutex::new(None) })
    }

    async fn get(&self) -> Result<Numbered, Failure> {
        static NUMBERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let stream = self.connector.connect().await?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(|error| {
                Failure::new(FailureKind::Connect, format!("{}: {error}", self.connector.address()))
            })?;
        // Ends with the connection; what went wrong is told to the streams.
        tokio::spawn(async move {
            let _told_to_streams = connection.await;
        });
        let number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let connection = Numbered { number, sender };
        *current = Some(connection.clone());
        Ok(connection)
    }

    async fn forget(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|connection| connection.number == number) {
            *current = None;
        }
    }
}

/// One stream at a time on a shared connection.
pub(crate) struct GrpcClient {
    connection: Arc<GrpcConnection>,
    current: Option<Numbered>,
    head: Request<()>,
    watchdog: Watchdog,
}

impl GrpcClient {
    /// `path` is the method's, such as `/package.Service/Method`. Needs a runtime around it.
    ///
    /// # Errors
    /// [`FailureKind::Malformed`] where address and path are no URI.
    pub(crate) fn new(
        connection: Arc<GrpcConnection>,
        path: &str,
        headers: &HeaderMap,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let mut head = Request::builder()
            .method(http::Method::POST)
            .version(http::Version::HTTP_2)
            .uri(format!("{}://{}{path}", connection.connector.scheme(), connection.connector.address()))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", USER_AGENT)
            .body(())
            .map_err(|error| Failure::malformed(error.to_string()))?;
        for (name, value) in headers {
            head.headers_mut().append(name.clone(), value.clone());
        }
        Ok(Self { connection, current: None, head, watchdog: Watchdog::new(timeout) })
    }

    /// Sends one framed message and reads the answer's.
    pub(crate) async fn call(&mut self, framed: &Bytes, keep: Keep) -> Result<Answer, Failure> {
        let began = Instant::now();
        if self.current.is_none() {
            self.current = Some(self.connection.get().await?);
        }
        let Some(current) = &mut self.current else {
            return Err(Failure::new(FailureKind::Connect, "no connection"));
        };
        let number = current.number;
        let answer = tokio::select! {
            biased;
            answer = exchange(&mut current.sender, self.head.clone(), framed, keep) => answer,
            () = self.watchdog.expired(began) => {
                Err(Ended::Stream(Failure::new(FailureKind::Timeout, "no answer in time")))
            }
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(Ended::Stream(failure)) => Err(failure),
            Err(Ended::Connection(error)) => {
                if !error.is_reset() {
                    self.current = None;
                    self.connection.forget(number).await;
                }
                Err(Failure::new(FailureKind::Closed, error.to_string()))
            }
        }
    }
}

/// Why an exchange failed.
enum Ended {
    /// The request failed; the connection is as it was.
    Stream(Failure),
    /// HTTP/2 failed, in the stream or in the connection.
    Connection(h2::Error),
}

impl From<h2::Error> for Ended {
    fn from(error: h2::Error) -> Self {
        Ended::Connection(error)
    }
}

async fn exchange(
    sender: &mut SendRequest<Bytes>,
    head: Request<()>,
    framed: &Bytes,
    keep: Keep,
) -> Result<Answer, Ended> {
    // Waits while the server allows no more streams.
    std::future::poll_fn(|context| sender.poll_ready(context)).await?;
    let (response, mut stream) = sender.send_request(head, false)?;
    stream.send_data(framed.clone(), true)?;
    let response = response.await?;
    let status = response.status();
    if !status.is_success() {
        let failure = Failure::new(FailureKind::Http(status.as_u16()), "");
        return Err(Ended::Stream(failure));
    }
    // An error without a message has its status among the headers.
    if let Some(failed) = grpc_failure(response.headers()) {
        return Err(Ended::Stream(failed));
    }
    let cache = cache_outcome(response.headers());
    let mut body = response.into_body();
    let mut kept = BytesMut::new();
    let mut received_bytes = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        received_bytes += chunk.len();
        body.flow_control().release_capacity(chunk.len())?;
        if keep == Keep::Body && kept.len() + chunk.len() <= ANSWER_BYTES {
            kept.extend_from_slice(&chunk);
        }
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    if let Some(failed) = grpc_failure(&trailers) {
        return Err(Ended::Stream(failed));
    }
    if received_bytes < PREFIX_BYTES {
        return Err(Ended::Stream(Failure::malformed("status OK without a message")));
    }
    Ok(Answer {
        received_bytes,
        header_length: None,
        cache: cache_outcome(&trailers).or(cache),
        body: unframe(&kept.freeze(), keep).map_err(Ended::Stream)?,
    })
}

/// What the server's response cache did, where headers or trailers say so.
fn cache_outcome(fields: &HeaderMap) -> Option<CacheOutcome> {
    CacheOutcome::read(fields.get(CACHE_FIELD)?.as_bytes())
}

/// The failure that `grpc-status` tells, if it is there and not OK.
fn grpc_failure(fields: &HeaderMap) -> Option<Failure> {
    let status = fields.get("grpc-status")?.to_str().unwrap_or_default();
    if status == "0" {
        return None;
    }
    let Ok(code) = status.parse::<u16>() else {
        return Some(Failure::malformed("grpc-status is no number"));
    };
    let message = fields
        .get("grpc-message")
        .map(|message| percent_encoding::percent_decode(message.as_bytes()).decode_utf8_lossy());
    Some(Failure::new(FailureKind::Grpc(code), message.unwrap_or_default().into_owned()))
}

fn unframe(framed: &Bytes, keep: Keep) -> Result<Bytes, Failure> {
    if keep == Keep::Nothing {
        return Ok(Bytes::new());
    }
    let Some((&[flag, ref length @ ..], message)) = framed.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Failure::malformed("the message has no prefix"));
    };
    let length = u32::from_be_bytes(*length);
    if flag != 0 || usize::try_from(length) != Ok(message.len()) {
        return Err(Failure::malformed("the answer is not one uncompressed message"));
    }
    Ok(framed.slice(PREFIX_BYTES..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_broken_ones_are_told() {
        let framed = frame(b"abc").unwrap();
        assert_eq!(&framed[..], b"\0\0\0\0\x03abc");
        assert_eq!(&unframe(&framed, Keep::Body).unwrap()[..], b"abc");
        assert!(unframe(&framed.slice(..7), Keep::Body).is_err());
        assert!(unframe(&framed.slice(..4), Keep::Body).is_err());
        assert!(unframe(&Bytes::from_static(b"\x01\0\0\0\0"), Keep::Body).is_err());
    }

    #[test]
    fn a_status_in_the_fields_is_a_failure_unless_ok() {
        let mut fields = HeaderMap::new();
        assert_eq!(grpc_failure(&fields), None);
        fields.insert("grpc-status", "0".parse().unwrap());
        assert_eq!(grpc_failure(&fields), None);
        fields.insert("grpc-status", "8".parse().unwrap());
        fields.insert("grpc-message", "queue%20full".parse().unwrap());
        assert_eq!(grpc_failure(&fields), Some(Failure::new(FailureKind::Grpc(8), "queue full")));
    }
    #[tokio::test]
    async fn trailers_tell_what_the_response_cache_did() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(request) = connection.accept().await {
                let mut respond = request.unwrap().1;
                let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                stream.send_data(frame(b"abc").unwrap(), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                trailers.insert(CACHE_FIELD, "coalesced".parse().unwrap());
                stream.send_trailers(trailers).unwrap();
            }
        });
        let connection = GrpcConnection::new(Connector::plain(address));
        let mut client =
            GrpcClient::new(connection, "/a/B", &HeaderMap::new(), Duration::from_secs(9)).unwrap();
        let answer = client.call(&frame(b"?").unwrap(), Keep::Body).await.unwrap();
        assert_eq!((answer.cache, &answer.body[..]), (Some(CacheOutcome::Coalesced), &b"abc"[..]));
    }
}
