use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{FileFault, FileRole, TlsError};
use crate::files::{self, fault};
use crate::provider::provider;
use crate::{Alpn, CertificateFiles};

/// Whom a client of ours trusts, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTlsOptions {
    /// Authorities to trust, in PEM; `None`: the system's, or Mozilla's where the system has none.
    pub ca_file: Option<PathBuf>,
    /// The client's own certificate, for servers that ask for one.
    pub certificate: Option<CertificateFiles>,
    /// Whether any server is taken for the one that is meant, whatever it shows.
    pub insecure: bool,
}

/// The client's side of TLS, for our own tools.
#[derive(Clone)]
pub struct ClientTls(TlsConnector);

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files. `alpn` is what is spoken inside.
    ///
    /// # Errors
    /// Every fault of every file; [`TlsError::NoRoots`] where nobody is trusted.
    pub fn new(options: &ClientTlsOptions, alpn: Alpn) -> Result<Self, TlsError> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if options.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        } else {
            builder.with_root_certificates(roots(options)?)
        };
        let mut config = match &options.certificate {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let read = |role, path| files::certificates(role, path).map_err(one);
                let chain = read(FileRole::ClientCertificate, &own.certificate)?;
                let key = files::key(FileRole::ClientKey, &own.key).map_err(one)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    one(fault(FileRole::ClientKey, &own.key, format!("cannot be used: {error}")))
                })?
            }
        };
        config.alpn_protocols = vec![alpn.id().to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Does the handshake with the server that is meant by `host`, a name or an address.
    ///
    /// # Errors
    /// `InvalidInput` for a host that is neither; else as the handshake fails.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name =
            ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, stream).await
    }
}

fn one(fault: FileFault) -> TlsError {
    TlsError::Files(vec![fault])
}

fn roots(options: &ClientTlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match &options.ca_file {
        Some(path) => {
            for authority in files::certificates(FileRole::ServerCa, path).map_err(one)? {
                roots.add(authority).map_err(|error| {
                    one(fault(FileRole::ServerCa, path, format!("holds what is no authority: {error}")))
                })?;
            }
        }
        None => {
            // What one of the system's is wrong with is none of ours.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
            }
        }
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

/// Takes any server for the one that is meant. The signatures of its handshake must be its own still.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
