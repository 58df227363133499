use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry};

/// The two text formats that scrapers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsFormat {
    /// Prometheus's own, which everything reads.
    #[default]
    Text,
    /// OpenMetrics 1.0, which Prometheus prefers.
    OpenMetrics,
}

impl MetricsFormat {
    /// Its content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics of one server. Every name carries the prefix `adulis_`, but for those that are everybody's (`process_…`) and
/// Triton's (`nv_…`).
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

    /// The text of everything.
    #[must_use]
    pub fn render(&self, format: MetricsFormat) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.0.lock()).expect("invariant: writing to a String does not fail");
        match format {
            MetricsFormat::OpenMetrics => out,
            MetricsFormat::Text => classic(&out),
        }
    }
}

/// The same in Prometheus's text format. There a counter's family has the name that its samples have, `_total` included; and
/// what is of type `unknown` in OpenMetrics is a counter whose name does not end so.
///
/// Source: Prometheus documentation, "Exposition formats".
fn classic(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(family) = line.strip_prefix("# HELP ") {
            help = Some(family);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "unknown" => ("", "counter"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take().and_then(|help| help.split_once(' ')) {
                out.extend(["# HELP ", name, suffix, " ", text, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            out.extend([line, "\n"]);
        }
    }
    out
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
        let open = MetricsFormat::OpenMetrics;
        assert!(registry.render(open).contains("# TYPE adulis_things gauge\nadulis_things 1\n"));
        value.store(u64::MAX, Ordering::Relaxed);
        assert!(registry.render(open).contains("\nadulis_things 18446744073709551615\n"));
    }

    #[test]
    fn both_formats_say_the_same_in_their_own_ways() {
        let registry = MetricRegistry::default();
        let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
        counter.inc_by(3);
        registry.register("adulis_runs", "Runs", counter);
        registry.register("adulis_waits_seconds", "Waits", crate::DurationHistogram::default());
        let open = registry.render(MetricsFormat::OpenMetrics);
        let start = "# HELP adulis_runs Runs.\n# TYPE adulis_runs counter\nadulis_runs_total 3\n";
        assert!(open.starts_with(start) && open.ends_with("# EOF\n"), "{open}");
        let classic = registry.render(MetricsFormat::Text);
        let start = "# HELP adulis_runs_total Runs.\n# TYPE adulis_runs_total counter\nadulis_runs_total 3\n";
        assert!(classic.starts_with(start) && !classic.contains("# EOF"), "{classic}");
        assert!(classic.contains("# TYPE adulis_waits_seconds histogram\n"), "{classic}");
        let samples = |text: &str| {
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            samples.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(samples(&open), samples(&classic));
    }
}
