use parking_lot::Mutex;
use prometheus_client::encoding::text;
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

    /// Adds a collector that is asked at each scrape.
    pub fn register_collector(&self, collector: Box<dyn prometheus_client::collector::Collector>) {
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
