use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use adulis_telemetry::TlsMetrics;
use parking_lot::{Mutex, RwLock};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use crate::accept::Acceptor;
use crate::error::TlsError;
use crate::files::Stamp;
use crate::material::{Material, stamps};
use crate::provider::provider;
use crate::{Alpn, ClientAuth, MinVersion, TlsOptions, expiry};

/// The TLS of a server: its certificates, whose clients it lets in, and the listeners that use them.
#[derive(Debug)]
pub struct ServerTls {
    options: TlsOptions,
    metrics: TlsMetrics,
    provider: Arc<CryptoProvider>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    material: Material,
    /// What the files looked like when they were last read, well or not.
    seen: Vec<Option<Stamp>>,
    /// When they are worth another look though they have not changed: a certificate in them was not valid yet.
    again: Option<SystemTime>,
    slots: Vec<Arc<Slot>>,
}

/// What a listener's handshakes go by, swapped when files change.
#[derive(Debug)]
pub(crate) struct Slot {
    options: AcceptorOptions,
    config: RwLock<Arc<ServerConfig>>,
}

/// What one listener speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptorOptions {
    /// Its name in metrics and logs.
    pub listener: &'static str,
    /// What is spoken inside, what the server prefers first.
    pub alpn: Vec<Alpn>,
    /// Whether its clients show certificates.
    pub client_auth: ClientAuth,
}

impl ServerTls {
    /// Reads all files.
    ///
    /// # Errors
    /// Every fault of every file, or [`TlsError::NoCertificate`].
    pub fn open(options: TlsOptions, metrics: TlsMetrics) -> Result<Arc<Self>, TlsError> {
        let provider = provider();
        let seen = stamps(&options);
        let material = Material::read(&options, &provider)?;
        material.tell(&metrics);
        let state = Mutex::new(State { material, seen, again: None, slots: Vec::new() });
        Ok(Arc::new(Self { options, metrics, provider, state }))
    }

    /// Reads all files and says what is wrong with them, as [`ServerTls::open`] would.
    ///
    /// # Errors
    /// The same.
    pub fn check(options: &TlsOptions) -> Result<(), TlsError> {
        Material::read(options, &provider()).map(drop)
    }

    /// What does the handshakes of one listener, with the newest certificates always.
    ///
    /// # Errors
    /// [`TlsError::NoClientCa`] where clients are to show certificates and no authority is trusted.
    pub fn acceptor(&self, options: AcceptorOptions) -> Result<Acceptor, TlsError> {
        let mut state = self.state.lock();
        let config = self.config(&state.material, &options)?;
        let metrics = self.metrics.listener(options.listener);
        let slot = Arc::new(Slot { options, config: RwLock::new(Arc::new(config)) });
        state.slots.push(Arc::clone(&slot));
        Ok(Acceptor::new(slot, metrics, self.options.handshake_timeout))
    }

    /// Reads all files again. Where anything in them is wrong, what was there before goes on serving, and the log says why.
    ///
    /// # Errors
    /// As [`ServerTls::open`].
    pub fn reload(&self) -> Result<(), TlsError> {
        self.replace(&mut self.state.lock())
    }

    /// The same where any file changed since it was last read, well or not, or where a certificate was not taken that was not
    /// valid then and is now. Says whether that was so.
    ///
    /// # Errors
    /// As [`ServerTls::reload`].
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let mut state = self.state.lock();
        let is_due = state.again.is_some_and(|again| again <= SystemTime::now());
        if stamps(&self.options) == state.seen && !is_due {
            return Ok(false);
        }
        self.replace(&mut state).map(|()| true)
    }

    fn replace(&self, state: &mut State) -> Result<(), TlsError> {
        // Before they are read: what changes meanwhile is found by the next look.
        state.seen = stamps(&self.options);
        state.again = None;
        let replaced = self.read_again(state);
        self.metrics.reloaded(replaced.is_ok());
        match &replaced {
            Ok(()) => {
                let certificates = self.options.certificates.len();
                tracing::info!(certificates, "certificates were read again");
            }
            Err(error) => {
                tracing::error!(%error, "the new certificates are not taken: the old ones go on serving");
            }
        }
        replaced
    }

    fn read_again(&self, state: &mut State) -> Result<(), TlsError> {
        let material = Material::read(&self.options, &self.provider)?;
        let now = SystemTime::now();
        if let Err(fault) = material.succeeds(&state.material, &self.options, now) {
            state.again = material.next_begin(now);
            return Err(fault);
        }
        let configs: Result<Vec<_>, _> =
            state.slots.iter().map(|slot| self.config(&material, &slot.options)).collect();
        // Nothing fails from here on.
        for (slot, config) in state.slots.iter().zip(configs?) {
            *slot.config.write() = Arc::new(config);
        }
        material.tell(&self.metrics);
        state.material = material;
        Ok(())
    }

    fn config(&self, material: &Material, options: &AcceptorOptions) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions(self.options.min_version))?;
        let names = Arc::clone(&material.names);
        let mut config = match options.client_auth {
            ClientAuth::Off => builder.with_no_client_auth().with_cert_resolver(names),
            auth => {
                let verifier = self.verifier(material, options.listener, auth)?;
                builder.with_client_cert_verifier(verifier).with_cert_resolver(names)
            }
        };
        config.alpn_protocols = options.alpn.iter().map(|alpn| alpn.id().to_vec()).collect();
        if options.client_auth == ClientAuth::Off {
            config.ticketer = Ticketer::new()?;
        } else {
            // A resumed session keeps its client's certificate unchecked: it may have run out or been revoked since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    fn verifier(
        &self,
        material: &Material,
        listener: &'static str,
        auth: ClientAuth,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        if material.client_roots.is_empty() {
            return Err(TlsError::NoClientCa { listener });
        }
        let roots = Arc::clone(&material.client_roots);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .with_crls(material.revocation_lists.iter().cloned())
            .allow_unknown_revocation_status();
        if auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        Ok(builder.build()?)
    }
}

impl Material {
    /// Tells metrics and log when the certificates run out.
    fn tell(&self, metrics: &TlsMetrics) {
        for (file, expiry) in &self.expiries {
            expiry::warn(Path::new(file), *expiry);
        }
        metrics.set_expiries(self.expiries.clone());
    }
}

impl Slot {
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read())
    }
}

static FROM_1_2: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
static FROM_1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];

fn versions(least: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        MinVersion::V1_2 => FROM_1_2,
        MinVersion::V1_3 => FROM_1_3,
    }
}
