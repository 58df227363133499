//! What is told of who asks, and of what was changed.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::{DurationHistogram, MetricRegistry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IdentifiedLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Metrics of identities. See `docs/metrics.md` for the list.
#[derive(Debug, Clone, Default)]
pub struct AuthMetrics {
    identified: Family<IdentifiedLabels, Counter>,
    denied: Family<OperationLabels, Counter>,
    /// How long it took to ask the store for a key, or for the keys of a token's issuer.
    pub lookups: DurationHistogram,
}

impl AuthMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        let Self { identified, denied, lookups } = metrics.clone();
        let help = "Requests by how their sender was known, and whether";
        registry.register("adulis_auth_requests", help, identified);
        let help = "Requests of known senders that were not permitted, by what they asked for";
        registry.register("adulis_auth_denied", help, denied);
        let help = "Time that finding an identity took where it was not in memory";
        registry.register("adulis_auth_lookup_seconds", help, lookups);
        metrics
    }

    /// Requests whose sender was known in one way, or was not, for one reason.
    #[must_use]
    pub fn identified(&self, kind: &'static str, outcome: &'static str) -> Counter {
        self.identified.get_or_create_owned(&IdentifiedLabels { kind, outcome })
    }

    /// Requests for one operation that were not permitted.
    #[must_use]
    pub fn denied(&self, operation: &'static str) -> Counter {
        self.denied.get_or_create_owned(&OperationLabels { operation })
    }
}

/// Metrics of the audit log. See `docs/metrics.md` for the list.
#[derive(Debug, Clone, Default)]
pub struct AuditMetrics {
    events: Family<OutcomeLabels, Counter>,
    /// Events that are in no file: it could not be written, or not in time.
    pub lost: Counter,
}

impl AuditMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        let Self { events, lost } = metrics.clone();
        registry.register("adulis_audit_events", "Changes of the server, by what became of them", events);
        let help = "Changes that are not in the audit file, which could not be written";
        registry.register("adulis_audit_lost", help, lost);
        metrics
    }

    /// Events with one outcome.
    #[must_use]
    pub fn events(&self, outcome: &'static str) -> Counter {
        self.events.get_or_create_owned(&OutcomeLabels { outcome })
    }
}
