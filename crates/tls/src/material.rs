use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::sign::CertifiedKey;

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
    /// When our certificates run out, in the order of the options.
    ends: Vec<i64>,
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
        let Reader { expiries, ends, .. } = reader;
        Ok(Self { names, client_roots, revocation_lists, expiries, ends })
    }

    /// That it may take another one's place: none of our certificates has expired whose predecessor has not.
    ///
    /// # Errors
    /// [`TlsError::Files`]: whoever put such a file there meant another one, and clients would refuse it.
    pub(crate) fn succeeds(
        &self,
        before: &Self,
        options: &TlsOptions,
        now: SystemTime,
    ) -> Result<(), TlsError> {
        let is_over = |end: i64| expiry::left(end, now).is_none();
        let mut faults = Vec::new();
        for (index, ((end, end_before), files)) in
            self.ends.iter().zip(&before.ends).zip(&options.certificates).enumerate()
        {
            if is_over(*end) && !is_over(*end_before) {
                let reason = "has expired, and the one before has not";
                faults.push(fault(FileRole::Certificate(index), &files.certificate, reason));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(TlsError::Files(faults)) }
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
    ends: Vec<i64>,
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
        let own = own.map(|own| (identity::hosts(&own), own.validity().not_after.timestamp()));
        let Some((hosts, end)) = own else {
            self.faults.push(fault(role, &files.certificate, "holds what is no certificate"));
            return;
        };
        self.ends.push(end);
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
