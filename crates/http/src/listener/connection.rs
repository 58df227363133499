use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tower::Service;

use super::activity::Activity;
use super::connections::{Order, Place};
use super::io_count::Counted;
use super::{ListenerOptions, Protocols};

/// What an HTTP/2 client with prior knowledge says first.
///
/// Source: RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long to wait for the rest of a preface that came in parts.
const PREFACE_PAUSE: Duration = Duration::from_millis(1);
/// How long an HTTP/1.1 connection that is told to end waits for a request that may be on its way: there is no other way
/// to tell its client than with an answer.
const LAST_CALL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Serves one connection to its end. Its errors are the client's affair and are logged at level `debug`.
pub(super) async fn serve(stream: TcpStream, router: Router, place: Place, options: Arc<ListenerOptions>) {
    let activity = Arc::clone(&place.activity);
    let Some(version) = version(&stream, &activity, &options).await else {
        return;
    };
    let io = TokioIo::new(Counted { stream, activity: Arc::clone(&activity) });
    let service = Requests { router, activity: Arc::clone(&activity), version };
    let ended = match version {
        Version::Http1 => {
            let mut builder = http1::Builder::new();
            builder
                .max_header_size(usize::try_from(options.max_header_bytes).unwrap_or(usize::MAX))
                // The watch sees to it, without a timer per request.
                .header_read_timeout(None);
            let last_call = LastCall::new(&options);
            drive(builder.serve_connection(io, service), &activity, last_call).await
        }
        Version::Http2 => {
            activity.multiplex();
            // GOAWAY tells the client, and which of its requests are still answered.
            let connection = http2_builder(&options).serve_connection(io, service);
            drive(connection, &activity, LastCall::none()).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
    drop(place);
}

fn http2_builder(options: &ListenerOptions) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_pending_accept_reset_streams(options.max_pending_accept_reset_streams)
        .max_local_error_reset_streams(options.max_local_error_reset_streams)
        .max_header_list_size(options.max_header_bytes)
        .keep_alive_interval(options.http2_ping_interval)
        .keep_alive_timeout(options.http2_ping_interval);
    builder
}

/// Tells which version a client speaks from its first bytes, which it leaves in the socket. `None` where the client is
/// gone, says nothing for too long, or the server is draining.
async fn version(stream: &TcpStream, activity: &Activity, options: &ListenerOptions) -> Option<Version> {
    match options.protocols {
        Protocols::Http1 => Some(Version::Http1),
        Protocols::Http2 => Some(Version::Http2),
        Protocols::Both => {
            let mut detected = pin!(tokio::time::timeout(options.header_read_timeout, detect(stream)));
            let mut last_call = LastCall::new(options);
            let watched = poll_fn(|cx| {
                activity.attend(cx);
                if let Poll::Ready(detected) = detected.as_mut().poll(cx) {
                    return Poll::Ready(detected.ok());
                }
                match activity.ordered() {
                    Order::GoOn => Poll::Pending,
                    Order::Drain => last_call.poll(cx).map(|()| None),
                    Order::Close => Poll::Ready(None),
                }
            });
            watched.await?.ok()
        }
    }
}

async fn detect(stream: &TcpStream) -> io::Result<Version> {
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

/// A connection of either version.
trait Connection: Future<Output = hyper::Result<()>> {
    fn drain(self: Pin<&mut Self>);
}

type Io = TokioIo<Counted<TcpStream>>;

impl Connection for http1::Connection<Io, Requests> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Connection for http2::Connection<Io, Requests, TokioExecutor> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The time that is left for a last request, from the first time that it is asked for.
struct LastCall {
    patience: Duration,
    over: Option<Pin<Box<Sleep>>>,
}

impl LastCall {
    fn new(options: &ListenerOptions) -> Self {
        Self { patience: LAST_CALL.min(options.drain_timeout / 4), over: None }
    }

    fn none() -> Self {
        Self { patience: Duration::ZERO, over: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.patience.is_zero() {
            return Poll::Ready(());
        }
        let patience = self.patience;
        self.over.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience))).as_mut().poll(cx)
    }
}

/// Polls a connection and obeys its orders. Costs one atomic load per poll.
async fn drive(
    connection: impl Connection,
    activity: &Activity,
    mut last_call: LastCall,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut draining = false;
    poll_fn(|cx| {
        activity.attend(cx);
        match activity.ordered() {
            Order::GoOn => {}
            Order::Drain if draining => {}
            Order::Drain if last_call.poll(cx).is_pending() => {}
            Order::Drain => {
                // What has come by now is still taken.
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(ended);
                }
                draining = true;
                connection.as_mut().drain();
            }
            Order::Close => return Poll::Ready(Ok(())),
        }
        connection.as_mut().poll(cx)
    })
    .await
}

/// The router as a service of one connection, counting the requests in progress.
struct Requests {
    router: Router,
    activity: Arc<Activity>,
    version: Version,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = InProgress;

    fn call(&self, request: Request<Incoming>) -> InProgress {
        self.activity.began();
        InProgress {
            // Cloning a router counts a reference up; it is always ready.
            answer: self.router.clone().call(request.map(Body::new)),
            activity: Arc::clone(&self.activity),
            version: self.version,
        }
    }
}

/// A request in progress.
struct InProgress {
    answer: RouteFuture<Infallible>,
    activity: Arc<Activity>,
    version: Version,
}

impl Future for InProgress {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.answer).poll(cx));
        if self.version == Version::Http1 && self.activity.ordered() != Order::GoOn {
            // The client is told with this answer, and the connection ends with it.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.activity.ended();
    }
}
