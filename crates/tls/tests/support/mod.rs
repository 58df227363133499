//! A server's certificates in a folder, and one handshake with it.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use adulis_telemetry::{MetricRegistry, MetricsFormat, TlsMetrics};
use adulis_testing::{TestAuthority, TestCertificate, TestTlsClient, tls_connect};
use adulis_tls::{
    Accepted, Acceptor, AcceptorOptions, Alpn, CertificateFiles, ClientAuth, ClientStream, HandshakeError,
    ServerTls, TlsOptions,
};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) type Served = Result<Accepted, HandshakeError>;

pub(crate) struct Setup {
    pub(crate) authority: TestAuthority,
    pub(crate) folder: TempDir,
    pub(crate) certificates: Vec<TestCertificate>,
    pub(crate) client_auth: ClientAuth,
    pub(crate) options: TlsOptions,
    registry: MetricRegistry,
    tls_metrics: TlsMetrics,
}

pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
}

/// The server's TLS, and one listener's part of it.
pub(crate) struct Opened {
    pub(crate) tls: Arc<ServerTls>,
    acceptor: Arc<Acceptor>,
}

/// How a handshake ended on either side.
pub(crate) struct Outcome {
    pub(crate) client: io::Result<ClientStream<TcpStream>>,
    pub(crate) server: Served,
}

impl Setup {
    pub(crate) fn new(hosts: &[&str]) -> Self {
        Self::with(hosts, |_| {})
    }

    pub(crate) fn with(hosts: &[&str], change: impl FnOnce(&mut TlsOptions)) -> Self {
        let (authority, folder) = (TestAuthority::new(), tempfile::tempdir().unwrap());
        let ca = authority.write(folder.path(), "ca.pem");
        let mut options = TlsOptions { client_ca_files: vec![ca], ..TlsOptions::default() };
        change(&mut options);
        let registry = MetricRegistry::default();
        let tls_metrics = TlsMetrics::register(&registry);
        let mut setup = Self {
            authority,
            folder,
            certificates: Vec::new(),
            client_auth: ClientAuth::Off,
            options,
            registry,
            tls_metrics,
        };
        setup.add(hosts);
        setup
    }

    /// One more certificate of the server's.
    pub(crate) fn add(&mut self, hosts: &[&str]) {
        let certificate = self.authority.server(hosts);
        let name = format!("server{}", self.certificates.len());
        let (certificate_file, key) = certificate.write(self.folder.path(), &name);
        self.options.certificates.push(CertificateFiles { certificate: certificate_file, key });
        self.certificates.push(certificate);
    }

    /// Writes a list of what is good no more.
    pub(crate) fn revoke(&mut self, certificates: &[&TestCertificate]) {
        let path = self.folder.path().join("revoked.pem");
        std::fs::write(&path, self.authority.revoking(certificates)).unwrap();
        self.options.client_crl_files = vec![path];
    }

    pub(crate) fn files(&self, index: usize) -> Files {
        let pair = &self.options.certificates[index];
        let (certificate, key) = (pair.certificate.clone(), pair.key.clone());
        Files { certificate, key, ca: self.options.client_ca_files[0].clone() }
    }

    pub(crate) fn open(&self) -> Opened {
        let tls = ServerTls::open(self.options.clone(), self.tls_metrics.clone()).unwrap();
        let options = AcceptorOptions {
            listener: "test",
            alpn: vec![Alpn::Http2, Alpn::Http1],
            client_auth: self.client_auth,
        };
        let acceptor = Arc::new(tls.acceptor(options).unwrap());
        Opened { tls, acceptor }
    }

    pub(crate) fn metrics(&self) -> String {
        self.registry.render(MetricsFormat::Text)
    }

    /// Waits for one connection and does its handshake.
    pub(crate) async fn serve_one(&self) -> (SocketAddr, JoinHandle<Served>) {
        self.open().serve_one().await
    }
}

impl Opened {
    async fn serve_one(&self) -> (SocketAddr, JoinHandle<Served>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Arc::clone(&self.acceptor);
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await
        });
        (address, served)
    }

    pub(crate) async fn shake(&self, name: &str, client: Arc<ClientConfig>) -> Outcome {
        let (address, served) = self.serve_one().await;
        let mut client = tls_connect(address, name, client).await;
        if let Ok(stream) = &mut client {
            // In TLS 1.3 the client is done before the server has seen its certificate.
            let _ = stream.flush().await;
        }
        Outcome { client, server: served.await.unwrap() }
    }

    /// A handshake after which the server sends one byte and keeps the connection.
    pub(crate) async fn exchange(&self, client: &Arc<ClientConfig>) -> ClientStream<TcpStream> {
        let outcome = self.shake("localhost", Arc::clone(client)).await;
        let mut stream = outcome.server.unwrap().stream;
        tokio::spawn(async move {
            stream.write_all(b"x").await.unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read(&mut [0]).await;
        });
        outcome.client.unwrap()
    }
}

pub(crate) async fn shake(setup: &Setup, client: TestTlsClient<'_>) -> Outcome {
    shake_with(setup, "localhost", setup.authority.trusted_by(client)).await
}

pub(crate) async fn shake_with(setup: &Setup, name: &str, client: Arc<ClientConfig>) -> Outcome {
    setup.open().shake(name, client).await
}
