use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::{DurationHistogram, MetricRegistry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    listener: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    file: String,
}

/// A certificate file, and when the first certificate in it runs out, in seconds since the epoch.
type Expiry = (String, i64);

/// Metrics of TLS. See `docs/metrics.md` for the list. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct TlsMetrics {
    handshakes: Family<HandshakeLabels, Counter>,
    durations: Family<ListenerLabels, DurationHistogram>,
    reloads: Family<ReloadLabels, Counter>,
    expiries: Arc<Mutex<Vec<Expiry>>>,
}

impl TlsMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        let Self { handshakes, durations, reloads, expiries } = metrics.clone();
        registry.register("adulis_tls_handshakes", "TLS handshakes, by how they ended", handshakes);
        let help = "Time from a client's first byte to the end of its handshake, of those that succeeded";
        registry.register("adulis_tls_handshake_duration_seconds", help, durations);
        let help = "Times that certificate files were read again";
        registry.register("adulis_tls_reloads", help, reloads);
        registry.register_collector(Box::new(Expiries(expiries)));
        for outcome in [true, false] {
            metrics.reload(outcome);
        }
        metrics
    }

    /// The handles of one listener. Makes its series appear.
    #[must_use]
    pub fn listener(&self, listener: &'static str) -> HandshakeMetrics {
        let counter = |outcome| self.handshakes.get_or_create_owned(&HandshakeLabels { listener, outcome });
        HandshakeMetrics {
            ok: counter("ok"),
            failed: counter("failed"),
            refused: counter("refused"),
            timeout: counter("timeout"),
            not_tls: counter("not_tls"),
            duration: self.durations.get_or_create_owned(&ListenerLabels { listener }),
        }
    }

    /// Counts that the files were read again, and taken or not.
    pub fn reloaded(&self, taken: bool) {
        self.reload(taken).inc();
    }

    /// Takes what files of certificates there are now, and when the first certificate in each runs out, in seconds since the
    /// epoch.
    pub fn set_expiries(&self, files: Vec<(String, i64)>) {
        *self.expiries.lock() = files;
    }

    fn reload(&self, taken: bool) -> Counter {
        let outcome = if taken { "ok" } else { "failed" };
        self.reloads.get_or_create_owned(&ReloadLabels { outcome })
    }
}

/// Handles of one listener's handshakes.
#[derive(Debug, Clone)]
pub struct HandshakeMetrics {
    /// Those that succeeded.
    pub ok: Counter,
    /// Those that failed: no version, cipher or protocol in common, the client refused our certificate, or went away.
    pub failed: Counter,
    /// Those of clients whose certificate was missing or not good.
    pub refused: Counter,
    /// Those that took too long.
    pub timeout: Counter,
    /// Connections whose client did not speak TLS.
    pub not_tls: Counter,
    /// How long those took that succeeded.
    pub duration: DurationHistogram,
}

/// The expiry dates, told at each scrape.
struct Expiries(Arc<Mutex<Vec<Expiry>>>);

impl fmt::Debug for Expiries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expiries").finish_non_exhaustive()
    }
}

impl Collector for Expiries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let name = "adulis_tls_certificate_expiry_timestamp_seconds";
        let help = "When the first certificate of a file runs out, in seconds since the epoch";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (file, expiry) in self.0.lock().iter() {
            metric.encode_family(&FileLabels { file: file.clone() })?.encode_gauge(expiry)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn listeners_reloads_and_expiries_have_their_series() {
        let registry = MetricRegistry::default();
        let metrics = TlsMetrics::register(&registry);
        let listener = metrics.listener("http");
        listener.ok.inc();
        listener.duration.observe(Duration::from_millis(1));
        metrics.reloaded(false);
        metrics.set_expiries(vec![("gone.pem".to_owned(), 1)]);
        metrics.set_expiries(vec![("a.pem".to_owned(), 1_800_000_000)]);
        let text = registry.render(MetricsFormat::Text);
        for line in [
            "adulis_tls_handshakes_total{listener=\"http\",outcome=\"ok\"} 1",
            "adulis_tls_handshakes_total{listener=\"http\",outcome=\"refused\"} 0",
            "adulis_tls_handshake_duration_seconds_count{listener=\"http\"} 1",
            "adulis_tls_reloads_total{outcome=\"ok\"} 0",
            "adulis_tls_reloads_total{outcome=\"failed\"} 1",
            "adulis_tls_certificate_expiry_timestamp_seconds{file=\"a.pem\"} 1800000000",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in {text}");
        }
        assert!(!text.contains("gone.pem"), "{text}");
    }
}
