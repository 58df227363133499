//! TLS through rustls: certificates from PEM files for listeners, chosen by the name that a client asks for; mutual TLS; files
//! read again without dropping a connection; the client's side for our own tools; and development certificates.
//!
//! [`ServerTls`] holds the files' contents, [`Acceptor`] does the handshakes of one listener. A handshake takes the
//! certificates that are there when it begins; connections that are open stay as they are when those change. New files are
//! taken as a whole or not at all: where anything in them is wrong, what was there before goes on serving.
//!
//! There is no HTTP here, no policy of who may do what, and no certificate authority but [`development`]'s. No protocol below
//! TLS 1.2 is compiled in, no early data is taken, and no session of a client with a certificate is resumed: dates and
//! revocation are checked for every connection.

mod accept;
mod client;
pub mod development;
mod error;
mod expiry;
mod files;
mod identity;
mod material;
mod names;
mod options;
mod provider;
mod server;
mod watch;

pub use accept::{Accepted, Acceptor, HandshakeError};
pub use client::{ClientTls, ClientTlsOptions};
pub use error::{FileFault, FileRole, TlsError};
pub use identity::client_certificate;
pub use options::{Alpn, CertificateFiles, ClientAuth, MinVersion, TlsOptions};
pub use provider::install_provider;
pub use server::{AcceptorOptions, ServerTls};
pub use tokio_rustls::{client::TlsStream as ClientStream, server::TlsStream as ServerStream};
