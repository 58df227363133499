use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A certificate authority of a test's own, which signs what tests ask it for.
#[derive(Debug)]
pub struct TestAuthority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct TestCertificate {
    certificate: Certificate,
    key: KeyPair,
}

impl TestAuthority {
    /// A new authority, unlike any other.
    ///
    /// # Panics
    /// If no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are sound names");
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key();
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A server's certificate for these hosts, names or addresses.
    ///
    /// # Panics
    /// If a host is no name.
    #[must_use]
    pub fn server(&self, hosts: &[&str]) -> TestCertificate {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts are sound names");
        params.distinguished_name.push(DnType::CommonName, "server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A client's certificate that names `uri`.
    ///
    /// # Panics
    /// If it is no URI.
    #[must_use]
    pub fn client(&self, uri: &str) -> TestCertificate {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are sound names");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a URI is ASCII"))];
        params.distinguished_name.push(DnType::CommonName, "client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> TestCertificate {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign");
        TestCertificate { certificate, key }
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Writes its own certificate to a file.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        put(folder, name, &self.pem())
    }
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}

impl TestCertificate {
    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes both to `NAME.pem` and `NAME-key.pem`, and gives these.
    ///
    /// # Panics
    /// If they cannot be written.
    #[must_use]
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = put(folder, &format!("{name}-key.pem"), &self.key_pem());
        (put(folder, &format!("{name}.pem"), &self.pem()), key)
    }
}

fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a test's folder can be written to");
    path
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}
