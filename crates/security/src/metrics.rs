use std::time::{Duration, SystemTime};

use adulis_telemetry::AuthMetrics;
use adulis_types::{IdentityKind, Operation};
use prometheus_client::metrics::counter::Counter;

use crate::AuthError;
use crate::identity_cache::Outcome;

/// Counters of who was known, by how. Those of requests that go on are looked up once.
#[derive(Debug)]
pub(crate) struct Counters {
    known: [Counter; IdentityKind::ALL.len()],
    metrics: AuthMetrics,
}

impl Counters {
    pub(crate) fn new(metrics: AuthMetrics) -> Self {
        let known = IdentityKind::ALL.map(|kind| metrics.identified(kind.as_str(), "ok"));
        Self { known, metrics }
    }

    pub(crate) fn count(&self, kind: IdentityKind, outcome: &Outcome) {
        let error = match outcome {
            // Refused where it is known what it asks for, so that it is noted in its name.
            Ok(identity) if identity.expires_at.is_some() && identity.is_expired(SystemTime::now()) => {
                &AuthError::Expired
            }
            Ok(_) => {
                self.known[kind as usize].inc();
                return;
            }
            Err(error) => error,
        };
        self.metrics.identified(kind.as_str(), error.as_str()).inc();
    }

    pub(crate) fn looked(&self, took: Duration) {
        self.metrics.lookups.observe(took);
    }

    pub(crate) fn denied(&self, operation: Operation) {
        self.metrics.denied(operation.as_str()).inc();
    }
}
