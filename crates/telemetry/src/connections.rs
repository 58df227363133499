use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::MetricRegistry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    listener: &'static str,
    reason: &'static str,
}

/// Metrics of connections, by listener. See `docs/metrics.md` for the list. Clones share them.
#[derive(Clone, Default)]
pub struct ConnectionMetrics {
    open: Family<ListenerLabels, Gauge>,
    refused: Family<ReasonLabels, Counter>,
    closed: Family<ReasonLabels, Counter>,
}

impl fmt::Debug for ConnectionMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionMetrics").finish_non_exhaustive()
    }
}

impl ConnectionMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        let Self { open, refused, closed } = metrics.clone();
        registry.register("adulis_connections", "Connections that are open", open);
        let help = "Connections that were refused because there were as many as may be";
        registry.register("adulis_connections_refused", help, refused);
        let help = "Connections that were closed because they were of no use for too long";
        registry.register("adulis_connections_closed", help, closed);
        metrics
    }

    /// The handles of one listener. Makes its series appear.
    #[must_use]
    pub fn listener(&self, listener: &'static str) -> ListenerMetrics {
        let refused = |reason| self.refused.get_or_create_owned(&ReasonLabels { listener, reason });
        let closed = |reason| self.closed.get_or_create_owned(&ReasonLabels { listener, reason });
        ListenerMetrics {
            open: self.open.get_or_create_owned(&ListenerLabels { listener }),
            refused_in_all: refused("limit"),
            refused_of_peer: refused("peer_limit"),
            slow: closed("header_timeout"),
            idle: closed("idle"),
            stuck: closed("stuck"),
        }
    }
}

/// Handles of one listener's connections. Those by default are told nobody.
#[derive(Debug, Clone, Default)]
pub struct ListenerMetrics {
    /// Those that are open.
    pub open: Gauge,
    /// Those that were refused because of the limit for all.
    pub refused_in_all: Counter,
    /// Those that were refused because their peer had as many as it may.
    pub refused_of_peer: Counter,
    /// Those whose head took too long.
    pub slow: Counter,
    /// Those that lay idle.
    pub idle: Counter,
    /// Those whose client did not take what was sent.
    pub stuck: Counter,
}

/// A connection that is open; dropping it counts it out.
#[derive(Debug)]
pub struct OpenConnection(Arc<ListenerMetrics>);

impl OpenConnection {
    /// Counts it in.
    #[must_use]
    pub fn new(metrics: &Arc<ListenerMetrics>) -> Self {
        metrics.open.inc();
        Self(Arc::clone(metrics))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn a_listener_has_its_series() {
        let registry = MetricRegistry::default();
        let listener = Arc::new(ConnectionMetrics::register(&registry).listener("http"));
        let first = OpenConnection::new(&listener);
        let _second = OpenConnection::new(&listener);
        drop(first);
        listener.refused_of_peer.inc();
        listener.slow.inc();
        let text = registry.render(MetricsFormat::Text);
        for line in [
            "adulis_connections{listener=\"http\"} 1",
            "adulis_connections_refused_total{listener=\"http\",reason=\"limit\"} 0",
            "adulis_connections_refused_total{listener=\"http\",reason=\"peer_limit\"} 1",
            "adulis_connections_closed_total{listener=\"http\",reason=\"header_timeout\"} 1",
            "adulis_connections_closed_total{listener=\"http\",reason=\"idle\"} 0",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in {text}");
        }
    }
}
