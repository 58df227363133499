//! What is told of quotas.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::MetricRegistry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuotaLabels {
    class: Arc<str>,
    outcome: &'static str,
}

/// Metrics of quotas. See `docs/metrics.md` for the list.
#[derive(Debug, Clone, Default)]
pub struct QuotaMetrics {
    requests: Family<QuotaLabels, Counter>,
    /// Requests that were counted by this replica alone, since what replicas share did not answer.
    pub unshared: Counter,
    /// Identities that were forgotten, since there were too many.
    pub forgotten: Counter,
    /// Calls by which places that replicas share are renewed or given back, and which failed.
    pub lease_errors: Counter,
}

impl QuotaMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        let Self { requests, unshared, forgotten, lease_errors } = metrics.clone();
        let help = "Requests of identities that have limits, by whether they were let through or which limit they met";
        registry.register("adulis_quota_requests", help, requests);
        let help =
            "Requests that were counted by this replica alone, since what replicas share did not answer";
        registry.register("adulis_quota_unshared", help, unshared);
        let help = "Identities whose counts were forgotten, since there were too many";
        registry.register("adulis_quota_forgotten", help, forgotten);
        let help = "Calls that failed by which places that replicas share are renewed or given back";
        registry.register("adulis_quota_lease_errors", help, lease_errors);
        metrics
    }

    /// Requests of a class with one outcome: `allowed`, or the name of a limit.
    #[must_use]
    pub fn requests(&self, class: &str, outcome: &'static str) -> Counter {
        self.requests.get_or_create_owned(&QuotaLabels { class: class.into(), outcome })
    }
}
