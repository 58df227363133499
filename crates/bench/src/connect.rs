use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use adulis_tls::{Alpn, CertificateFiles, ClientStream, ClientTls, ClientTlsOptions};
use anyhow::ensure;
use clap::{Args, ValueHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::failure::{Failure, FailureKind};
use crate::target::{Protocol, Target};

/// Whom to trust, and what to show, where a URL says TLS: https:// or grpcs://.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Authorities to trust, in PEM; the system's if left out
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,

    /// Take any server for the one that is meant: for tests only
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,

    /// Certificate to show to a server that asks for one, in PEM
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,

    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
}

/// Opens connections to one server, plain ones or over TLS.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    /// `host:port`.
    address: String,
    host: String,
    tls: Option<ClientTls>,
}

impl Connector {
    /// Reads the files that `args` names, where the target's URL says TLS.
    ///
    /// # Errors
    /// Where they cannot be used.
    pub(crate) fn new(target: &Target, args: &TlsArgs) -> anyhow::Result<Self> {
        let alpn = match target.protocol {
            Protocol::Grpc => Alpn::Http2,
            Protocol::RestJson | Protocol::RestBinary => Alpn::Http1,
        };
        let tls = if target.tls { Some(ClientTls::new(&args.options(), alpn)?) } else { None };
        Ok(Self { address: target.address.clone(), host: target.host.clone(), tls })
    }

    /// A plain one.
    #[cfg(test)]
    pub(crate) fn plain(address: impl Into<String>) -> Self {
        Self { address: address.into(), host: String::new(), tls: None }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Connects without Nagle's delay.
    pub(crate) async fn connect(&self) -> Result<Stream, Failure> {
        let Self { address, host, tls } = self;
        let failed = |error: io::Error| Failure::new(FailureKind::Connect, format!("{address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        match tls {
            None => Ok(Stream::Plain(stream)),
            Some(tls) => Ok(Stream::Tls(Box::new(tls.connect(host, stream).await.map_err(failed)?))),
        }
    }
}

impl TlsArgs {
    /// Checks that there is a use for what is set.
    ///
    /// # Errors
    /// Where all URLs are plain: whoever set something believes the connection to be safe.
    pub(crate) fn fit(&self, targets: &[&Target]) -> anyhow::Result<()> {
        let urls: Vec<&str> = targets.iter().map(|target| target.url.as_str()).collect();
        ensure!(
            *self == Self::default() || targets.iter().any(|target| target.tls),
            "`{}` says no TLS, which --ca, --insecure, --cert and --key are for: write https:// or grpcs://",
            urls.join("`, `")
        );
        Ok(())
    }

    fn options(&self) -> ClientTlsOptions {
        let pair = self.cert.clone().zip(self.key.clone());
        ClientTlsOptions {
            ca_file: self.ca.clone(),
            certificate: pair.map(|(certificate, key)| CertificateFiles { certificate, key }),
            insecure: self.insecure,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<ClientStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
