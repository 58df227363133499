use std::io;
use std::sync::Arc;
use std::time::Duration;

use adulis_retry::{Backoff, BackoffOptions};
use adulis_tls::Acceptor;
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::ListenerOptions;
use super::connection::Arrival;
use super::connections::{Connections, Full};
use super::refusal::{self, refuse};

/// Pauses while no connection can be accepted.
const PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(5), max_delay: Duration::from_secs(1) };

/// Connections over the limit that are being told so, at a time; further ones are dropped without a word.
const MAX_REFUSALS: usize = 64;

/// What the connections of a socket are served with.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) connections: Arc<Connections>,
    pub(super) options: Arc<ListenerOptions>,
    pub(super) tls: Option<Arc<Acceptor>>,
}

/// Accepts connections for ever. No error ends the loop.
pub(super) async fn accept(socket: TcpListener, serving: Serving) {
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut pauses = Backoff::new(PAUSES);
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors or memory: trying again at once would only spin.
                let pause = pauses.next_delay();
                tracing::warn!(%error, pause_seconds = pause.as_secs_f64(), "accepting a connection failed");
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        pauses.reset();
        // Fails only for a connection that is gone again, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let place = match serving.connections.enter(peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                // Over TLS nothing can be said before a handshake, which is what the limit is to spare.
                if serving.tls.is_none()
                    && let Ok(permit) = Arc::clone(&refusals).try_acquire_owned()
                {
                    tokio::spawn(async move {
                        refuse(stream, told(full)).await;
                        drop(permit);
                    });
                }
                continue;
            }
        };
        let Serving { router, options, tls, .. } = serving.clone();
        let arrival = Arrival { router, place, options };
        match tls {
            None => tokio::spawn(arrival.serve_plain(stream)),
            Some(tls) => tokio::spawn(arrival.serve_tls(stream, peer, tls)),
        };
    }
}

fn told(full: Full) -> &'static [u8] {
    match full {
        Full::InAll => refusal::TOO_MANY,
        Full::OfPeer => refusal::TOO_MANY_OF_PEER,
    }
}

/// Errors that say something about one connection and nothing about the socket.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
