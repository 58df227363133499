use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;

use crate::error::{FileFault, FileRole, TlsError};
use crate::files::{self, Stamp, fault};
use crate::names::Names;
use crate::{CertificateFiles, TlsOptions, expiry, identity};

/// What the files hold, read and checked.
#[derive(Debug)]
pub(crate) struct Material {
    /// Our certificates.
    pub(crate) names: Arc<Names>,
    /// The authorities of clients.
    pub(crate) client_roots: Arc<RootCertStore>,
    pub(crate) revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    /// Files of certificates, and when the first in each runs out.
    pub(crate) expiries: Vec<(String, i64)>,
    /// When our certificates hold, in the order of the options.
    spans: Vec<Span>,
}

/// When a certificate holds, in seconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: i64,
    end: i64,
}

impl Span {
    /// What is wrong with it at this moment, if anything is.
    fn fault(self, now: SystemTime) -> Option<&'static str> {
        if expiry::left(self.begin, now).is_some_and(|left| !left.is_zero()) {
            return Some("is not valid yet, and the one before is");
        }
        expiry::left(self.end, now).is_none().then_some("has expired, and the one before has not")
    }
}

impl Material {
    /// Reads all files.
    ///
    /// # Errors
    /// [`TlsError::Files`] with every fault of every file; [`TlsError::NoCertificate`] where none is named.
    pub(crate) fn read(options: &TlsOptions, provider: &CryptoProvider) -> Result<Self, TlsError> {
        if options.certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let mut reader = Reader::default();
        let mut names = Names::default();
        for (index, pair) in options.certificates.iter().enumerate() {
            reader.pair(index, pair, provider, &mut names);
        }
        let mut client_roots = RootCertStore::empty();
        for (index, path) in options.client_ca_files.iter().enumerate() {
            let role = FileRole::ClientCa(index);
            let Some(authorities) = reader.taken(files::certificates(role, path)) else {
                continue;
            };
            reader.note(path, &authorities);
            for authority in authorities {
                if let Err(error) = client_roots.add(authority) {
                    reader.faults.push(fault(role, path, format!("holds what is no authority: {error}")));
                }
            }
        }
        let mut revocation_lists = Vec::new();
        for (index, path) in options.client_crl_files.iter().enumerate() {
            let lists = files::revocation_lists(FileRole::ClientCrl(index), path);
            revocation_lists.extend(reader.taken(lists).into_iter().flatten());
        }
        if !reader.faults.is_empty() {
            return Err(TlsError::Files(reader.faults));
        }
        let (names, client_roots) = (Arc::new(names), Arc::new(client_roots));
        let Reader { expiries, spans, .. } = reader;
        Ok(Self { names, client_roots, revocation_lists, expiries, spans })
    }

    /// That it may take another one's place: where the predecessor of one of our certificates holds, it holds, too.
    ///
    /// # Errors
    /// [`TlsError::Files`]: whoever put such a file there meant another one, and clients would refuse it.
    pub(crate) fn succeeds(
        &self,
        before: &Self,
        options: &TlsOptions,
        now: SystemTime,
    ) -> Result<(), TlsError> {
        let mut faults = Vec::new();
        for (index, ((span, span_before), files)) in
            self.spans.iter().zip(&before.spans).zip(&options.certificates).enumerate()
        {
            if let Some(reason) = span.fault(now).filter(|_| span_before.fault(now).is_none()) {
                faults.push(fault(FileRole::Certificate(index), &files.certificate, reason));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(TlsError::Files(faults)) }
    }

    /// When the first of our certificates begins to hold that do not yet.
    pub(crate) fn next_begin(&self, now: SystemTime) -> Option<SystemTime> {
        let begins = self.spans.iter().map(|span| expiry::moment(span.begin));
        begins.filter(|begin| *begin > now).min()
    }
}

/// What files look like from outside, in the order of the options.
pub(crate) fn stamps(options: &TlsOptions) -> Vec<Option<Stamp>> {
    let pairs = options.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
    pairs
        .chain(&options.client_ca_files)
        .chain(&options.client_crl_files)
        .map(|path| Stamp::of(path))
        .collect()
}

#[derive(Default)]
struct Reader {
    faults: Vec<FileFault>,
    expiries: Vec<(String, i64)>,
    spans: Vec<Span>,
}

impl Reader {
    fn taken<T>(&mut self, read: Result<T, FileFault>) -> Option<T> {
        read.map_err(|fault| self.faults.push(fault)).ok()
    }

    fn note(&mut self, path: &Path, certificates: &[CertificateDer<'_>]) {
        if let Some(expiry) = expiry::first(certificates) {
            self.expiries.push((path.display().to_string(), expiry));
        }
    }

    /// A certificate and its key, which must belong together.
    fn pair(&mut self, index: usize, files: &CertificateFiles, provider: &CryptoProvider, names: &mut Names) {
        let (role, key_role) = (FileRole::Certificate(index), FileRole::Key(index));
        let chain = self.taken(files::certificates(role, &files.certificate));
        let key = self.taken(files::key(key_role, &files.key));
        let (Some(chain), Some(key)) = (chain, key) else {
            return;
        };
        let own = identity::parse(&chain[0]);
        let own = own.map(|own| (identity::hosts(&own), span(&own)));
        let Some((hosts, span)) = own else {
            self.faults.push(fault(role, &files.certificate, "holds what is no certificate"));
            return;
        };
        self.spans.push(span);
        self.note(&files.certificate, &chain);
        match CertifiedKey::from_der(chain, key, provider) {
            Ok(certified) => names.add(Arc::new(certified), &hosts),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let reason = format!("is not the key of {}", files.certificate.display());
                self.faults.push(fault(key_role, &files.key, reason));
            }
            Err(error @ rustls::Error::InvalidCertificate(_)) => {
                self.faults.push(fault(role, &files.certificate, format!("cannot be used: {error}")));
            }
            Err(error) => {
                self.faults.push(fault(key_role, &files.key, format!("cannot be used: {error}")));
            }
        }
    }
}

fn span(certificate: &X509Certificate<'_>) -> Span {
    let validity = certificate.validity();
    Span { begin: validity.not_before.timestamp(), end: validity.not_after.timestamp() }
}
