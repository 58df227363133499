//! TLS of the listeners.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adulis_telemetry::{MetricRegistry, TlsMetrics};
use adulis_tls::{CertificateFiles, ClientAuth, FileRole, MinVersion, ServerTls, TlsError, TlsOptions};
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::store::print_time_or_off;
use super::units::format_duration;
use super::{ConfigErrors, ConfigFault, ServerConfig, Source};

/// TLS of the listeners. Where there is no certificate, they speak in plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates in PEM, each with those that lead to its authority. The first is shown to clients that name no host of ours.
    pub certificate_files: Vec<PathBuf>,
    /// Their keys, in the same order.
    pub key_files: Vec<PathBuf>,
    /// Authorities whose clients are let in.
    pub client_ca_files: Vec<PathBuf>,
    /// Revocation lists of these.
    pub client_crl_files: Vec<PathBuf>,
    /// Whether clients show certificates, where a listener does not say.
    pub client_auth: ClientAuth,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How often the files are looked at; `None`: only when SIGHUP comes.
    pub reload_interval: Option<Duration>,
    /// REST, and gRPC on the same port.
    pub http: ListenerTls,
    /// gRPC.
    pub grpc: ListenerTls,
    /// Metrics.
    pub metrics: ListenerTls,
}

/// TLS of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerTls {
    /// Whether it speaks TLS, where there is a certificate.
    pub enabled: bool,
    /// Whether its clients show certificates; `None`: as is said for all.
    pub client_auth: Option<ClientAuth>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    certificate_files: Option<Vec<PathBuf>>,
    key_files: Option<Vec<PathBuf>>,
    client_ca_files: Option<Vec<PathBuf>>,
    client_crl_files: Option<Vec<PathBuf>>,
    client_auth: Option<String>,
    min_version: Option<String>,
    handshake_timeout: Option<String>,
    reload_interval: Option<String>,
    http: RawListenerTls,
    grpc: RawListenerTls,
    metrics: RawListenerTls,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawListenerTls {
    enabled: Option<bool>,
    client_auth: Option<String>,
}

const AUTHS: [(&str, ClientAuth); 3] = [
    ("off", ClientAuth::Off),
    ("optional", ClientAuth::Optional),
    ("required", ClientAuth::Required),
];
const VERSIONS: [(&str, MinVersion); 2] = [("1.2", MinVersion::V1_2), ("1.3", MinVersion::V1_3)];
const HANDSHAKE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

impl Default for TlsConfig {
    fn default() -> Self {
        let TlsOptions { min_version, handshake_timeout, .. } = TlsOptions::default();
        Self {
            certificate_files: Vec::new(),
            key_files: Vec::new(),
            client_ca_files: Vec::new(),
            client_crl_files: Vec::new(),
            client_auth: ClientAuth::Off,
            min_version,
            handshake_timeout,
            reload_interval: Some(Duration::from_secs(10)),
            http: ListenerTls::default(),
            grpc: ListenerTls::default(),
            metrics: ListenerTls::default(),
        }
    }
}

impl Default for ListenerTls {
    fn default() -> Self {
        Self { enabled: true, client_auth: None }
    }
}

impl Check<'_> {
    pub(super) fn tls(&mut self, raw: &RawTls, default: &TlsConfig, server: &ServerConfig) -> TlsConfig {
        let files = |files: &Option<Vec<PathBuf>>| files.clone().unwrap_or_default();
        let tls = TlsConfig {
            certificate_files: files(&raw.certificate_files),
            key_files: files(&raw.key_files),
            client_ca_files: files(&raw.client_ca_files),
            client_crl_files: files(&raw.client_crl_files),
            client_auth: raw
                .client_auth
                .as_deref()
                .and_then(|word| self.word("tls.client_auth", word, &AUTHS))
                .unwrap_or(default.client_auth),
            min_version: raw
                .min_version
                .as_deref()
                .and_then(|word| self.word("tls.min_version", word, &VERSIONS))
                .unwrap_or(default.min_version),
            handshake_timeout: self
                .duration("tls.handshake_timeout", raw.handshake_timeout.as_deref(), &HANDSHAKE)
                .unwrap_or(default.handshake_timeout),
            reload_interval: self.time_or_off(
                "tls.reload_interval",
                raw.reload_interval.as_deref(),
                default.reload_interval,
            ),
            http: self.listener_tls("tls.http", &raw.http),
            grpc: self.listener_tls("tls.grpc", &raw.grpc),
            metrics: self.listener_tls("tls.metrics", &raw.metrics),
        };
        self.tls_files(&tls);
        if server.shares_a_port() && tls.http != tls.grpc {
            let message = "REST and gRPC share a port, and tls.http says otherwise";
            self.faults.push_with_remedy("tls.grpc", message, "say the same for both");
        }
        tls
    }

    fn listener_tls(&mut self, section: &str, raw: &RawListenerTls) -> ListenerTls {
        let word = raw.client_auth.as_deref().filter(|word| !word.is_empty());
        ListenerTls {
            enabled: raw.enabled.unwrap_or(true),
            client_auth: word.and_then(|word| self.word(&format!("{section}.client_auth"), word, &AUTHS)),
        }
    }

    /// Files that do not go together, as far as that is seen without opening them.
    fn tls_files(&mut self, tls: &TlsConfig) {
        let [certificates, keys] = [&tls.certificate_files, &tls.key_files].map(Vec::len);
        if certificates != keys {
            let message = format!("there are {keys} keys for {certificates} certificates");
            self.faults
                .push_with_remedy("tls.key_files", message, "name one for each, in the same order");
        }
        let asked = tls.listeners().any(|auth| auth != ClientAuth::Off);
        let trusted = !tls.client_ca_files.is_empty();
        if asked && !trusted {
            let message = "clients are to show certificates, and nothing says which authorities are trusted";
            self.faults.push_with_remedy("tls.client_auth", message, "set tls.client_ca_files");
        }
        if trusted && !asked && certificates > 0 {
            let message = "is set, and no listener asks clients for certificates";
            self.faults.push_with_remedy(
                "tls.client_ca_files",
                message,
                "set tls.client_auth = \"required\"",
            );
        }
        if !tls.client_crl_files.is_empty() && !trusted {
            self.faults.push("tls.client_crl_files", "is set without tls.client_ca_files");
        }
    }
}

impl TlsConfig {
    /// Whether clients of these listeners show certificates, as far as they speak TLS.
    fn listeners(&self) -> impl Iterator<Item = ClientAuth> + '_ {
        [self.http, self.grpc, self.metrics].into_iter().filter_map(|listener| self.of(listener))
    }

    /// Whether a listener's clients show certificates; `None` where it speaks in plain.
    #[must_use]
    pub fn of(&self, listener: ListenerTls) -> Option<ClientAuth> {
        listener.enabled.then(|| listener.client_auth.unwrap_or(self.client_auth))
    }

    /// What the files are; `None` where no certificate is named.
    #[must_use]
    pub fn options(&self) -> Option<TlsOptions> {
        if self.certificate_files.is_empty() {
            return None;
        }
        let pairs = self.certificate_files.iter().zip(&self.key_files);
        let pairs = pairs.map(|(certificate, key)| CertificateFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        });
        Some(TlsOptions {
            certificates: pairs.collect(),
            client_ca_files: self.client_ca_files.clone(),
            client_crl_files: self.client_crl_files.clone(),
            min_version: self.min_version,
            handshake_timeout: self.handshake_timeout,
        })
    }

    /// Reads the files and registers their metrics; `None` where no certificate is named.
    ///
    /// # Errors
    /// Every fault of every file, by its key.
    pub fn open(&self, registry: &MetricRegistry) -> Result<Option<Arc<ServerTls>>, ConfigErrors> {
        let opened = self.options().map(|options| ServerTls::open(options, TlsMetrics::register(registry)));
        opened.transpose().map_err(|error| by_key(&error))
    }

    /// The same, and says only what is wrong.
    ///
    /// # Errors
    /// Every fault of every file, by its key.
    pub fn check_files(&self) -> Result<(), ConfigErrors> {
        self.options()
            .map_or(Ok(()), |options| ServerTls::check(&options).map_err(|error| by_key(&error)))
    }

    pub(super) fn print(&self) -> RawTls {
        let auth = |auth| word(&AUTHS, auth);
        let listener = |listener: ListenerTls| RawListenerTls {
            enabled: Some(listener.enabled),
            client_auth: Some(listener.client_auth.map(auth).unwrap_or_default()),
        };
        RawTls {
            certificate_files: Some(self.certificate_files.clone()),
            key_files: Some(self.key_files.clone()),
            client_ca_files: Some(self.client_ca_files.clone()),
            client_crl_files: Some(self.client_crl_files.clone()),
            client_auth: Some(auth(self.client_auth)),
            min_version: Some(word(&VERSIONS, self.min_version)),
            handshake_timeout: Some(format_duration(self.handshake_timeout)),
            reload_interval: print_time_or_off(self.reload_interval),
            http: listener(self.http),
            grpc: listener(self.grpc),
            metrics: listener(self.metrics),
        }
    }
}

fn word<T: Copy + PartialEq>(known: &[(&str, T)], value: T) -> String {
    let found = known.iter().find(|(_, other)| *other == value);
    found.map(|(word, _)| (*word).to_owned()).unwrap_or_default()
}

/// The faults of files as faults of the keys that name them.
fn by_key(error: &TlsError) -> ConfigErrors {
    let fault = |key: String, message| ConfigFault { source: Source::Together, key, message, remedy: None };
    let TlsError::Files(files) = error else {
        return ConfigErrors(vec![fault("tls".to_owned(), error.to_string())]);
    };
    let faults = files.iter().map(|file| {
        let key = match file.role {
            FileRole::Certificate(index) => format!("tls.certificate_files[{index}]"),
            FileRole::Key(index) => format!("tls.key_files[{index}]"),
            FileRole::ClientCa(index) => format!("tls.client_ca_files[{index}]"),
            FileRole::ClientCrl(index) => format!("tls.client_crl_files[{index}]"),
            FileRole::ServerCa | FileRole::ClientCertificate | FileRole::ClientKey => "tls".to_owned(),
        };
        fault(key, file.to_string())
    });
    ConfigErrors(faults.collect())
}
