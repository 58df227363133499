use std::path::PathBuf;
use std::time::Duration;

/// What a server's TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificates with their keys; the first is shown to clients that ask for a name which none has, or for none.
    pub certificates: Vec<CertificateFiles>,
    /// Files of the certificates, in PEM, whose clients are let in.
    pub client_ca_files: Vec<PathBuf>,
    /// Files of revocation lists, in PEM, of these authorities. The certificates of an authority without one are not looked up.
    pub client_crl_files: Vec<PathBuf>,
    /// The oldest version of TLS that is spoken.
    pub min_version: MinVersion,
    /// How long a handshake may take, from the connection on.
    pub handshake_timeout: Duration,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            client_ca_files: Vec::new(),
            client_crl_files: Vec::new(),
            min_version: MinVersion::default(),
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those that lead from it to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    Off,
    /// They are asked; one without is let in, one with a bad one is not.
    Optional,
    /// Without a good one nobody is let in.
    Required,
}

/// The oldest version of TLS that is spoken. The newest is always 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    /// TLS 1.2, with forward secrecy and authenticated encryption only.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What is spoken inside, as client and server agree during the handshake (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

impl Alpn {
    /// Its registered name.
    ///
    /// Source: RFC 7301, section 6, and RFC 9113, section 3.1.
    pub(crate) const fn id(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    pub(crate) fn of(id: &[u8]) -> Option<Self> {
        [Self::Http1, Self::Http2].into_iter().find(|alpn| alpn.id() == id)
    }
}
