use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adulis_telemetry::ListenerMetrics;
use adulis_tls::Acceptor;
use axum::Router;
use socket2::{Domain, Protocol as Transport, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::accept::{Serving, accept};
use self::connections::{Connections, Order};

mod accept;
mod activity;
mod answer;
mod connection;
mod connections;
mod idle;
mod io_count;
mod options;
mod peers;
mod refusal;
mod requests;
mod version;

pub use options::{ListenerOptions, Protocols};

/// Connections that the kernel keeps waiting for the accept loop.
const BACKLOG: i32 = 4096;

/// A peer that has gone without a word is noticed two minutes later, also on a connection where it waits for a model that is
/// silent.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);
/// How long connections get to end after they were told to close at once.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Sockets that accept HTTP/1.1 and HTTP/2 connections, plain or over TLS, and serve a router on them.
///
/// One accept loop per socket; each connection is one task. Nothing is armed per request: idle and slow connections are
/// found by one task that looks at all of them every so often, so that serving is as quick as `axum::serve`.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    options: ListenerOptions,
    tls: Option<Arc<Acceptor>>,
    metrics: ListenerMetrics,
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the end of the drain time and were cut off.
    pub forced: usize,
}

impl Listener {
    /// A listener on sockets that are bound already.
    #[must_use]
    pub fn new(sockets: Vec<TcpListener>, options: ListenerOptions) -> Self {
        for socket in &sockets {
            // Connections that are accepted have it from here. Whoever passed a socket of another kind goes without.
            if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&KEEPALIVE) {
                tracing::debug!(%error, "no keepalive on a listening socket");
            }
        }
        Self { sockets, options, tls: None, metrics: ListenerMetrics::default() }
    }

    /// Binds `address` with a long backlog and without waiting for old connections to be forgotten.
    ///
    /// # Errors
    /// As the system says, such as `AddrInUse`.
    pub fn bind(address: SocketAddr, options: ListenerOptions) -> io::Result<Self> {
        Ok(Self::new(vec![TcpListener::from_std(listening_socket(address)?)?], options))
    }

    /// Lets it speak TLS, and nothing else. What is spoken inside is agreed on in the handshake: see [`Protocols::alpn`].
    #[must_use]
    pub fn tls(mut self, acceptor: Acceptor) -> Self {
        self.tls = Some(Arc::new(acceptor));
        self
    }

    /// Has its connections counted.
    #[must_use]
    pub fn metrics(mut self, metrics: ListenerMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The addresses that it listens on.
    ///
    /// # Errors
    /// As the system says.
    pub fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves `router` until `shutdown` resolves, then drains.
    ///
    /// Draining: no connection is accepted any more; HTTP/1.1 connections close with the response in progress, or with that to a
    /// request which comes within the next second (a quarter of [`ListenerOptions::drain_timeout`] where that is less), or after
    /// it; HTTP/2 connections send GOAWAY and end with their last stream. What is still there after the drain timeout is cut off,
    /// which cancels its requests.
    ///
    /// Dropping the future closes the sockets and leaves the connections to themselves.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) -> Drained {
        let options = Arc::new(self.options);
        // Once here rather than at each request: `with_state` turns handlers into services.
        let router = router.with_state(());
        let connections = Connections::new(&options, self.metrics);
        let mut tasks = JoinSet::new();
        let serving = Serving {
            router,
            connections: Arc::clone(&connections),
            options: Arc::clone(&options),
            tls: self.tls,
        };
        for socket in self.sockets {
            tasks.spawn(accept(socket, serving.clone()));
        }
        let mut watching = JoinSet::new();
        watching.spawn(connections::watch(Arc::clone(&connections), options.limits()));

        shutdown.await;
        // Waits until the loops are gone, and their sockets with them.
        tasks.shutdown().await;
        drain(&connections, options.drain_timeout).await
    }
}

/// A socket that listens at `address`, with a long backlog and without waiting for old connections to be forgotten. It does not
/// block.
///
/// # Errors
/// As the system says, such as `AddrInUse`.
pub fn listening_socket(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn drain(connections: &Connections, patience: Duration) -> Drained {
    connections.order_all(Order::Drain);
    if tokio::time::timeout(patience, connections.emptied()).await.is_ok() {
        return Drained { forced: 0 };
    }
    let forced = connections.count();
    tracing::warn!(connections = forced, "drain time is over: closing what is left");
    connections.order_all(Order::Close);
    if tokio::time::timeout(CLOSE_PATIENCE, connections.emptied()).await.is_err() {
        tracing::warn!(connections = connections.count(), "connections did not close");
    }
    Drained { forced }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[tokio::test]
    async fn who_has_gone_without_a_word_is_noticed() {
        // One that somebody else opened.
        let passed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        passed.set_nonblocking(true).unwrap();
        let listener =
            Listener::new(vec![TcpListener::from_std(passed).unwrap()], ListenerOptions::default());
        let _client = TcpStream::connect(listener.sockets[0].local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.sockets[0].accept().await.unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    }
}
