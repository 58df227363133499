use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry};

/// Content type of [`MetricRegistry::render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of one server. Every name carries the prefix `adulis_`, but for those that are everybody's (`process_…`).
#[derive(Debug, Default)]
pub struct MetricRegistry(Mutex<Registry>);

impl MetricRegistry {
    /// Adds a metric under `name`, as it is. Counters get their `_total` when they are written.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.0.lock().register(name, help, metric);
    }

    /// Adds a gauge whose value is asked for at each scrape.
    pub fn register_observed(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.register_collector(Box::new(Observed { name, help, read }));
    }

    /// Adds a collector that is asked at each scrape.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.0.lock().register_collector(collector);
    }

    /// The OpenMetrics text of everything, [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.0.lock()).expect("invariant: writing to a String does not fail");
        out
    }
}

/// A gauge that is not kept but asked for.
struct Observed<F> {
    name: &'static str,
    help: &'static str,
    read: F,
}

impl<F> std::fmt::Debug for Observed<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Collector for Observed<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauge = ConstGauge::new((self.read)());
        gauge.encode(encoder.encode_descriptor(self.name, self.help, None, gauge.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn an_observed_gauge_is_asked_for_at_each_scrape() {
        let (registry, value) = (MetricRegistry::default(), Arc::new(AtomicU64::new(1)));
        let read = Arc::clone(&value);
        registry.register_observed("adulis_things", "Things", move || read.load(Ordering::Relaxed));
        assert!(registry.render().contains("# TYPE adulis_things gauge\nadulis_things 1\n"));
        value.store(u64::MAX, Ordering::Relaxed);
        assert!(
            registry.render().contains("\nadulis_things 18446744073709551615\n"),
            "{}",
            registry.render()
        );
    }
}
