use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_telemetry::HandshakeMetrics;
use adulis_types::ClientCertificate;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Alpn;
use crate::identity::client_certificate;
use crate::server::Slot;

/// The first byte of a TLS connection: a handshake record.
///
/// Source: RFC 8446, section 5.1.
const HANDSHAKE: u8 = 22;

/// Does the handshakes of one listener.
#[derive(Debug)]
pub struct Acceptor {
    slot: Arc<Slot>,
    metrics: HandshakeMetrics,
    timeout: Duration,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Accepted {
    /// What is inside.
    pub stream: TlsStream<TcpStream>,
    /// What is spoken inside; `None` where the client did not say.
    pub alpn: Option<Alpn>,
    /// Who the client is, where it showed a certificate.
    pub client: Option<Arc<ClientCertificate>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client went away before it said anything, as a load balancer's probe does.
    #[error("the client said nothing")]
    Closed,
    /// The client does not speak TLS; nothing was read of what it said.
    #[error("the client does not speak TLS")]
    NotTls(TcpStream),
    /// The client took too long.
    #[error("the handshake took longer than {0:?}")]
    Timeout(Duration),
    /// The client's certificate was missing or not good.
    #[error("the client's certificate: {0}")]
    Refused(#[source] io::Error),
    /// Anything else.
    #[error("the handshake failed: {0}")]
    Failed(#[source] io::Error),
}

impl Acceptor {
    pub(crate) fn new(slot: Arc<Slot>, metrics: HandshakeMetrics, timeout: Duration) -> Self {
        Self { slot, metrics, timeout }
    }

    /// Does the handshake of a connection, within its time, and counts how it ended. The client is told with an alert where it
    /// fails.
    ///
    /// # Errors
    /// [`HandshakeError`]. Dropping the future closes the connection.
    pub async fn accept(&self, stream: TcpStream) -> Result<Accepted, HandshakeError> {
        let done = tokio::time::timeout(self.timeout, self.handshake(stream))
            .await
            .unwrap_or(Err(HandshakeError::Timeout(self.timeout)));
        match &done {
            Ok(_) => self.metrics.ok.inc(),
            Err(HandshakeError::Closed) => 0,
            Err(HandshakeError::NotTls(_)) => self.metrics.not_tls.inc(),
            Err(HandshakeError::Timeout(_)) => self.metrics.timeout.inc(),
            Err(HandshakeError::Refused(_)) => self.metrics.refused.inc(),
            Err(HandshakeError::Failed(_)) => self.metrics.failed.inc(),
        };
        done
    }

    async fn handshake(&self, stream: TcpStream) -> Result<Accepted, HandshakeError> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => return Err(HandshakeError::Closed),
            Ok(_) if first[0] != HANDSHAKE => return Err(HandshakeError::NotTls(stream)),
            Ok(_) => {}
        }
        let began = Instant::now();
        let stream = TlsAcceptor::from(self.slot.config()).accept(stream).await.map_err(failure)?;
        self.metrics.duration.observe(began.elapsed());
        let (_, connection) = stream.get_ref();
        let alpn = connection.alpn_protocol().and_then(Alpn::of);
        let client = match connection.peer_certificates().and_then(<[_]>::first) {
            None => None,
            Some(certificate) => Some(Arc::new(client_certificate(certificate).ok_or_else(unreadable)?)),
        };
        Ok(Accepted { stream, alpn, client })
    }
}

fn unreadable() -> HandshakeError {
    HandshakeError::Refused(io::Error::new(io::ErrorKind::InvalidData, "it cannot be read"))
}

fn failure(error: io::Error) -> HandshakeError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            HandshakeError::Refused(error)
        }
        _ => HandshakeError::Failed(error),
    }
}
