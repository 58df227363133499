use std::fmt;
use std::path::PathBuf;

/// Which of the files of [`crate::TlsOptions`] is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileRole {
    /// The certificate of this index.
    Certificate(usize),
    /// The key of this index.
    Key(usize),
    /// The file of client authorities of this index.
    ClientCa(usize),
    /// The file of revocation lists of this index.
    ClientCrl(usize),
    /// The authority that a client of ours trusts.
    ServerCa,
    /// The certificate that a client of ours shows.
    ClientCertificate,
    /// Its key.
    ClientKey,
}

/// One file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// Which one.
    pub role: FileRole,
    /// Where it is.
    pub path: PathBuf,
    /// What is the matter with it. Never holds anything of a key.
    pub reason: String,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Files are not as they should be: all of them are told.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Files(Vec<FileFault>),
    /// There is no certificate to show.
    #[error("there is no certificate")]
    NoCertificate,
    /// Clients are to show certificates, and no authority is trusted.
    #[error(
        "listener {listener}: clients are to show certificates, and no file says which authorities are trusted"
    )]
    NoClientCa {
        /// The listener.
        listener: &'static str,
    },
    /// The TLS library refuses what it is told.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
    /// It refuses the authorities or revocation lists of clients.
    #[error("client certificates cannot be checked: {0}")]
    ClientVerifier(#[from] rustls::server::VerifierBuilderError),
    /// A server is to be trusted, and the system has no authorities.
    #[error("there is no certificate authority to trust")]
    NoRoots,
}
