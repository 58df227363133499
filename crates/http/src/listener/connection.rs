use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adulis_tls::{Acceptor, HandshakeError};
use adulis_types::ClientCertificate;
use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::activity::Activity;
use super::connections::{Order, Place};
use super::io_count::Counted;
use super::refusal::{self, refuse, speaks_http1};
use super::requests::Requests;
use super::version::{Version, detect};
use super::{ListenerOptions, Protocols};

/// How long an HTTP/1.1 connection that is told to end waits for a request that may be on its way: there is no other way
/// to tell its client than with an answer. Longer than clients that ask all the time pause, on a busy machine, too.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A connection that is there and not served yet.
pub(super) struct Arrival {
    pub(super) router: Router,
    pub(super) place: Place,
    pub(super) options: Arc<ListenerOptions>,
}

impl Arrival {
    /// Serves a plain connection to its end. Its errors are the client's affair and are logged at level `debug`.
    pub(super) async fn serve_plain(self, stream: TcpStream) {
        let version = match self.options.protocols {
            Protocols::Http1 => Version::Http1,
            Protocols::Http2 => Version::Http2,
            Protocols::Both => {
                let detected = tokio::time::timeout(self.options.header_read_timeout, detect(&stream));
                match self.unless_told(detected).await {
                    Some(Ok(Ok(version))) => version,
                    // The client is gone, says nothing for too long, or the server is draining.
                    _ => return,
                }
            }
        };
        self.serve(stream, version, None).await;
    }

    /// Serves a connection over TLS to its end.
    pub(super) async fn serve_tls(self, stream: TcpStream, peer: SocketAddr, tls: Arc<Acceptor>) {
        // Boxed: what a handshake needs is large, and long gone while requests are served.
        self.place.activity.handshake_began();
        let done = self.unless_told(Box::pin(tls.accept(stream))).await;
        self.place.activity.handshake_ended();
        let accepted = match done {
            None | Some(Err(HandshakeError::Closed)) => return,
            Some(Err(error)) => {
                tracing::debug!(%peer, %error, "no TLS connection");
                if let HandshakeError::NotTls(stream) = error
                    && let Ok(true) = speaks_http1(&stream).await
                {
                    refuse(stream, refusal::NOT_TLS).await;
                }
                return;
            }
            Some(Ok(accepted)) => accepted,
        };
        let version = Version::agreed(accepted.alpn, self.options.protocols);
        self.serve(accepted.stream, version, accepted.client).await;
    }

    async fn serve<S: Stream>(self, stream: S, version: Version, client: Option<Arc<ClientCertificate>>) {
        let Self { router, place, options } = self;
        let activity = Arc::clone(&place.activity);
        let io = TokioIo::new(Counted { stream, activity: Arc::clone(&activity) });
        let service = Requests { router, activity: Arc::clone(&activity), version, client };
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

    /// Waits for `future`, unless the connection is told to end before: while the server drains, a moment after that.
    async fn unless_told<F: Future>(&self, future: F) -> Option<F::Output> {
        let activity = &self.place.activity;
        let mut future = pin!(future);
        let mut last_call = LastCall::new(&self.options);
        poll_fn(|cx| {
            activity.attend(cx);
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            match activity.ordered() {
                Order::GoOn => Poll::Pending,
                Order::Drain => last_call.poll(cx).map(|()| None),
                Order::Close => Poll::Ready(None),
            }
        })
        .await
    }
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

/// What HTTP is spoken over: a socket, or TLS on one. Each is compiled by itself, so that one costs the other nothing.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A connection of either version.
trait Connection: Future<Output = hyper::Result<()>> {
    fn drain(self: Pin<&mut Self>);
}

type Io<S> = TokioIo<Counted<S>>;

impl<S: Stream> Connection for http1::Connection<Io<S>, Requests> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S: Stream> Connection for http2::Connection<Io<S>, Requests, TokioExecutor> {
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
        // An idle connection that does not end is cut off when it was idle for twice as long: it is to end before.
        let patience = LAST_CALL.min(options.drain_timeout / 4).min(options.keep_alive_timeout / 2);
        Self { patience, over: None }
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
