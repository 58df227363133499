use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority of a test's own. It signs what tests ask it for, expired certificates too.
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
    serial: SerialNumber,
}

/// What a TLS client of a test is like. It trusts one authority.
#[derive(Debug, Clone, Copy, Default)]
pub struct TestTlsClient<'a> {
    /// What it offers to speak inside.
    pub alpn: &'a [&'a str],
    /// The certificate that it shows.
    pub certificate: Option<&'a TestCertificate>,
    /// The versions that it speaks; none: all.
    pub versions: &'static [&'static SupportedProtocolVersion],
}

impl TestAuthority {
    /// A new authority, unlike any other but by its name.
    ///
    /// # Panics
    /// If no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new(Vec::new()).expect("no names are sound names");
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key();
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A server's certificate for these hosts, names or addresses.
    #[must_use]
    pub fn server(&self, hosts: &[&str]) -> TestCertificate {
        self.server_until(hosts, 30)
    }

    /// The same, which runs out after so many days; negative: has run out.
    ///
    /// # Panics
    /// If a host is no name.
    #[must_use]
    pub fn server_until(&self, hosts: &[&str], days: i32) -> TestCertificate {
        self.sign(server_params(hosts), days)
    }

    /// The same, which is not valid yet: it is after this time.
    ///
    /// # Panics
    /// If a host is no name.
    #[must_use]
    pub fn server_after(&self, hosts: &[&str], time: Duration) -> TestCertificate {
        let begin = since_epoch() + time;
        self.sign_for(server_params(hosts), begin..begin + DAY * 30)
    }

    /// A client's certificate that names `uri`.
    #[must_use]
    pub fn client(&self, uri: &str) -> TestCertificate {
        self.client_until(uri, 30)
    }

    /// The same, which runs out after so many days; negative: has run out.
    ///
    /// # Panics
    /// If it is no URI.
    #[must_use]
    pub fn client_until(&self, uri: &str, days: i32) -> TestCertificate {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are sound names");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a URI is ASCII"))];
        params.distinguished_name.push(DnType::CommonName, "client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, days)
    }

    fn sign(&self, params: CertificateParams, days: i32) -> TestCertificate {
        let (now, distance) = (since_epoch(), DAY * days.unsigned_abs());
        let end = if days < 0 { now - distance } else { now + distance };
        self.sign_for(params, now - DAY * 60..end)
    }

    fn sign_for(&self, mut params: CertificateParams, span: Range<Duration>) -> TestCertificate {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed));
        params.serial_number = Some(serial.clone());
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + span.start;
        params.not_after = epoch + span.end;
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign");
        TestCertificate { certificate, key, serial }
    }

    /// A list, in PEM, of certificates that are good no more.
    ///
    /// # Panics
    /// If it cannot be signed.
    #[must_use]
    pub fn revoking(&self, certificates: &[&TestCertificate]) -> String {
        let (now, epoch) = (since_epoch(), date_time_ymd(1970, 1, 1));
        let revoked = certificates.iter().map(|certificate| RevokedCertParams {
            serial_number: certificate.serial.clone(),
            revocation_time: epoch + now,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: epoch + (now - DAY),
            next_update: epoch + (now + DAY * 30),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer).expect("an authority can revoke");
        signed.pem().expect("a list can be written")
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

    /// A TLS client that trusts this authority.
    ///
    /// # Panics
    /// If its certificate cannot be used.
    #[must_use]
    pub fn trusted_by(&self, client: TestTlsClient<'_>) -> Arc<ClientConfig> {
        let versions = if client.versions.is_empty() { rustls::ALL_VERSIONS } else { client.versions };
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("an authority can be trusted");
        let builder = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
        let mut config = match client.certificate {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.der()], own.key_der())
                .expect("a certificate and its key can be used"),
        };
        config.alpn_protocols = client.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}

impl TestCertificate {
    /// The certificate.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// Its key.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key is a key")
    }

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

    /// Writes both to `NAME.pem` and `NAME-key.pem`, and gives these. What is there is written over, each file in one moment.
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
    let (new, path) = (folder.join(format!("{name}.new")), folder.join(name));
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &path))
        .expect("a test's folder can be written to");
    path
}

fn server_params(hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("hosts are sound names");
    params.distinguished_name.push(DnType::CommonName, "server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

/// Dates are told in time since the epoch: their type is of a library that is not named here.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Connects and does the handshake with a server that is known by `name`.
///
/// # Errors
/// As the system or the handshake says.
pub async fn tls_connect(
    address: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(config).connect(name, stream).await
}
