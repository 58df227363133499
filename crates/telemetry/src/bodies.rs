use std::fmt;

use adulis_types::BodyBudget;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::MetricRegistry;

/// Metrics of the bodies of requests in progress, read from their budget at each scrape.
#[derive(Debug)]
pub struct BodyMetrics(BodyBudget);

impl BodyMetrics {
    /// Registers them.
    pub fn register(registry: &MetricRegistry, budget: BodyBudget) {
        registry.register_collector(Box::new(Self(budget)));
    }
}

impl Collector for BodyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let held = ConstGauge::new(u64::try_from(self.0.held_bytes()).unwrap_or(u64::MAX));
        let help = "Bytes of the bodies of requests in progress";
        let name = "adulis_request_bytes_in_flight";
        held.encode(encoder.encode_descriptor(name, help, None, held.metric_type())?)?;
        let refused = ConstCounter::new(self.0.refused());
        let help = "Request bodies that were refused because as many bytes as may be were in flight";
        let name = "adulis_request_bodies_refused";
        refused.encode(encoder.encode_descriptor(name, help, None, refused.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use adulis_types::HeldBody;

    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn what_is_held_and_what_was_refused_is_told() {
        let registry = MetricRegistry::default();
        let budget = BodyBudget::new(2_000_000);
        BodyMetrics::register(&registry, budget.clone());
        let (mut body, mut other) = (HeldBody::default(), HeldBody::default());
        budget.take(&mut body, 1_000_000 + 16 * 1024).unwrap();
        budget.take(&mut other, 2_000_000).unwrap_err();
        let text = registry.render(MetricsFormat::Text);
        for line in [
            "adulis_request_bytes_in_flight 1000000",
            "adulis_request_bodies_refused_total 1",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in {text}");
        }
    }
}
