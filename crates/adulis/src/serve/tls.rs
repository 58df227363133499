//! TLS of the listeners, and its files read again: when they change, and when SIGHUP comes.

use std::sync::Arc;
use std::time::Duration;

use adulis_http::{Listener, ListenerOptions};
use adulis_tls::{AcceptorOptions, ClientAuth, ServerTls, TlsError};
use adulis_types::{AuditEvent, AuditLog, AuditOutcome};
use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::config::TlsConfig;

/// TLS of the listeners.
#[derive(Debug, Clone)]
pub struct ServeTls {
    /// The certificates.
    pub tls: Arc<ServerTls>,
    /// Whether REST's clients show certificates, those of gRPC on the same port among them; `None`: it speaks in plain.
    pub http: Option<ClientAuth>,
    /// The same of gRPC on a port of its own.
    pub grpc: Option<ClientAuth>,
    /// The same of metrics.
    pub metrics: Option<ClientAuth>,
    /// How often the files are looked at; `None`: never, but when SIGHUP comes.
    pub reload_interval: Option<Duration>,
}

impl ServeTls {
    /// What a configuration says of these certificates.
    #[must_use]
    pub fn of(config: &TlsConfig, tls: Arc<ServerTls>) -> Self {
        Self {
            tls,
            http: config.of(config.http),
            grpc: config.of(config.grpc),
            metrics: config.of(config.metrics),
            reload_interval: config.reload_interval,
        }
    }

    /// Whether the clients of a listener show certificates; `None` where it speaks in plain, as the platforms that host a server
    /// want it.
    fn client_auth(&self, listener: &str) -> Option<ClientAuth> {
        match listener {
            "http" | "http+grpc" => self.http,
            "grpc" => self.grpc,
            "metrics" => self.metrics,
            _ => None,
        }
    }

    /// Has a listener speak TLS, if it is to. Says whether it does.
    ///
    /// # Errors
    /// If its clients are to show certificates and nobody is trusted.
    pub(super) fn on(
        &self,
        name: &'static str,
        listener: Listener,
        options: &ListenerOptions,
    ) -> anyhow::Result<(Listener, bool)> {
        let Some(client_auth) = self.client_auth(name) else {
            return Ok((listener, false));
        };
        let options = AcceptorOptions { listener: name, alpn: options.protocols.alpn(), client_auth };
        Ok((listener.tls(self.tls.acceptor(options)?), true))
    }

    /// Keeps the certificates fresh, as long as the tasks are kept. That they were read again is noted.
    ///
    /// # Errors
    /// If signals cannot be caught.
    pub(super) fn keep_fresh(&self, audit: Option<&Arc<dyn AuditLog>>) -> anyhow::Result<JoinSet<()>> {
        let mut tasks = JoinSet::new();
        let hang_up = signal(SignalKind::hangup()).context("cannot catch signals")?;
        tasks.spawn(reload_on(hang_up, Arc::clone(&self.tls), audit.cloned()));
        if let Some(interval) = self.reload_interval {
            let audit = audit.cloned();
            let told = move |looked| {
                if !matches!(looked, Ok(false)) {
                    note(audit.as_deref(), &looked);
                }
            };
            tasks.spawn(Arc::clone(&self.tls).watch(interval, told));
        }
        Ok(tasks)
    }
}

async fn reload_on(mut hang_up: Signal, tls: Arc<ServerTls>, audit: Option<Arc<dyn AuditLog>>) {
    while hang_up.recv().await.is_some() {
        let tls = Arc::clone(&tls);
        if let Ok(reloaded) = tokio::task::spawn_blocking(move || tls.reload()).await {
            note(audit.as_deref(), &reloaded);
        }
    }
}

/// Takes note of certificates, authorities and revocation lists that were read again.
fn note<T>(audit: Option<&dyn AuditLog>, reloaded: &Result<T, TlsError>) {
    if let Some(audit) = audit {
        let why = reloaded.as_ref().err().map(ToString::to_string);
        let event = AuditEvent::of_server("certificate_reload", AuditOutcome::of(reloaded));
        audit.record(&AuditEvent { detail: why.as_deref(), ..event });
    }
}
