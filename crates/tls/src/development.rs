//! Certificates to develop and try things with: an authority of one's own, a server's and a client's.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks of other machines may be behind.
const BEFORE: Duration = DAY;
const AUTHORITY_VALID: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Within what browsers and Apple's libraries take.
const LEAF_VALID: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevelopmentFiles {
    /// The authority's certificate: what clients trust, and what a server trusts for clients.
    pub ca: PathBuf,
    /// Its key.
    pub ca_key: PathBuf,
    /// The server's certificate.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// The client's certificate.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

/// Why there are no development certificates.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// A file is there already.
    #[error("{}: is there already; remove it, or name another folder", .0.display())]
    Exists(PathBuf),
    /// A file or folder cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name is none that a certificate may have, or no key could be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl DevelopmentFiles {
    /// The files' places in a folder.
    #[must_use]
    pub fn within(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        Self {
            ca: file("ca.pem"),
            ca_key: file("ca-key.pem"),
            server: file("server.pem"),
            server_key: file("server-key.pem"),
            client: file("client.pem"),
            client_key: file("client-key.pem"),
        }
    }

    /// Makes an authority, a server's certificate for `hosts` (names and addresses) and a client's that names `client`, a URI
    /// where it has a scheme. Keys can be read by nobody but their owner. Nothing is written over: not even a part of the files
    /// is written where one of them is there.
    ///
    /// # Errors
    /// [`DevelopmentError`].
    pub fn make(&self, hosts: &[String], client: &str) -> Result<(), DevelopmentError> {
        let all = [
            &self.ca,
            &self.ca_key,
            &self.server,
            &self.server_key,
            &self.client,
            &self.client_key,
        ];
        if let Some(path) = all.into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(DevelopmentError::Exists(path.clone()));
        }
        let authority_key = KeyPair::generate()?;
        let authority = authority()?;
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::from_params(&authority, &authority_key);
        let (server_key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
        let server = server(hosts)?.signed_by(&server_key, &issuer)?.pem();
        let client = of_client(client)?.signed_by(&client_key, &issuer)?.pem();
        if let Some(folder) = self.ca.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let failed = |source| DevelopmentError::Write { path: folder.to_owned(), source };
            fs::create_dir_all(folder).map_err(failed)?;
        }
        for (path, text, mode) in [
            (&self.ca_key, authority_key.serialize_pem(), 0o600),
            (&self.server_key, server_key.serialize_pem(), 0o600),
            (&self.client_key, client_key.serialize_pem(), 0o600),
            (&self.ca, authority_pem, 0o644),
            (&self.server, server, 0o644),
            (&self.client, client, 0o644),
        ] {
            write_new(path, &text, mode)?;
        }
        Ok(())
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), DevelopmentError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => DevelopmentError::Exists(path.to_owned()),
        _ => DevelopmentError::Write { path: path.to_owned(), source },
    })
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid_for(CertificateParams::new(Vec::new())?, AUTHORITY_VALID);
    // Certificates that it signs, and none that sign others.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Adulis development authority");
    Ok(params)
}

fn server(hosts: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let name = hosts.first().map_or("server", String::as_str);
    Ok(leaf(CertificateParams::new(hosts)?, name, ExtendedKeyUsagePurpose::ServerAuth))
}

fn of_client(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.subject_alt_names = vec![match name {
        _ if name.contains("://") => SanType::URI(name.try_into()?),
        _ if name.contains('@') => SanType::Rfc822Name(name.try_into()?),
        _ => SanType::DnsName(name.try_into()?),
    }];
    Ok(leaf(params, name, ExtendedKeyUsagePurpose::ClientAuth))
}

fn leaf(params: CertificateParams, name: &str, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = valid_for(params, LEAF_VALID);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

fn valid_for(mut params: CertificateParams, time: Duration) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BEFORE);
    params.not_after = epoch + now + time;
    params
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{CertificateFiles, ClientTls, ClientTlsOptions, ServerTls, TlsOptions};

    fn hosts() -> Vec<String> {
        ["localhost", "127.0.0.1"].map(str::to_owned).to_vec()
    }

    #[test]
    fn what_is_made_can_be_used_and_keys_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let files = DevelopmentFiles::within(&folder.path().join("new/folder"));
        files.make(&hosts(), "spiffe://adulis/developer").unwrap();
        let options = TlsOptions {
            certificates: vec![CertificateFiles {
                certificate: files.server.clone(),
                key: files.server_key.clone(),
            }],
            client_ca_files: vec![files.ca.clone()],
            ..TlsOptions::default()
        };
        ServerTls::check(&options).unwrap();
        let client = ClientTlsOptions {
            ca_file: Some(files.ca.clone()),
            certificate: Some(CertificateFiles {
                certificate: files.client.clone(),
                key: files.client_key.clone(),
            }),
            insecure: false,
        };
        ClientTls::new(&client, crate::Alpn::Http1).unwrap();
        for key in [&files.ca_key, &files.server_key, &files.client_key] {
            assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{key:?}");
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let files = DevelopmentFiles::within(folder.path());
        fs::write(&files.client_key, "precious").unwrap();
        let error = files.make(&hosts(), "client").unwrap_err();
        assert!(matches!(&error, DevelopmentError::Exists(path) if *path == files.client_key), "{error}");
        assert_eq!(fs::read_to_string(&files.client_key).unwrap(), "precious");
        assert!(!files.ca.exists() && !files.server_key.exists());
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = DevelopmentFiles::within(folder.path());
        let error = files.make(&["naïve".to_owned()], "client").unwrap_err();
        assert!(matches!(error, DevelopmentError::Certificate(_)), "{error}");
    }
}
