use std::fmt;
use std::sync::Arc;

use adulis_types::{CacheReport, CachedModel, SharedTierReport};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;

use crate::{DurationHistogram, MetricRegistry};

/// Tier of the process's own memory, as the label `tier` tells it.
const MEMORY: &str = "memory";

/// Times of look-ups in the response cache.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    tiers: Family<TierLabels, DurationHistogram>,
    /// Look-ups in memory, keys included.
    pub memory: DurationHistogram,
}

impl Default for CacheMetrics {
    fn default() -> Self {
        let tiers = Family::<TierLabels, DurationHistogram>::default();
        let memory = tiers.get_or_create_owned(&TierLabels { tier: MEMORY });
        Self { tiers, memory }
    }
}

impl CacheMetrics {
    pub(crate) fn register(&self, registry: &MetricRegistry) {
        registry.register(
            "adulis_cache_lookup_duration_seconds",
            "Look-ups in the response cache, by tier",
            self.tiers.clone(),
        );
    }

    /// Look-ups in a tier that replicas share.
    #[must_use]
    pub fn tier(&self, tier: &'static str) -> DurationHistogram {
        self.tiers.get_or_create_owned(&TierLabels { tier })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TierLabels {
    tier: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: Arc<str>,
    version: u64,
    tier: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    model: Arc<str>,
    version: u64,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SharedLabels {
    tier: Arc<str>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    tier: Arc<str>,
}

/// Asks at each scrape what the cache holds and has done.
struct Cache<F>(F);

impl<F> fmt::Debug for Cache<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<F> Collector for Cache<F>
where
    F: Fn() -> CacheReport + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let report = (self.0)();
        let encoder = &mut encoder;
        let capacity = [(TierLabels { tier: MEMORY }, report.capacity_bytes)];
        gauges(encoder, "adulis_cache_capacity_bytes", "Most bytes that answers take", capacity)?;
        models(encoder, &report.models)?;
        match &report.shared {
            None => Ok(()),
            Some(tier) => shared(encoder, tier),
        }
    }
}

fn models(encoder: &mut DescriptorEncoder<'_>, models: &[CachedModel]) -> Result<(), fmt::Error> {
    let each = |read: fn(&CachedModel) -> u64| {
        models.iter().map(move |of| {
            let labels = ModelLabels { model: Arc::clone(&of.name), version: of.version, tier: MEMORY };
            (labels, read(of))
        })
    };
    gauges(encoder, "adulis_cache_entries", "Answers that are remembered", each(|of| of.entries))?;
    gauges(encoder, "adulis_cache_bytes", "What they take, overhead included", each(|of| of.bytes))?;
    let help = "Answers that made room for others before their time";
    counters(encoder, "adulis_cache_evictions", help, each(|of| of.evictions))?;
    let by_outcome = |of: &CachedModel, outcomes: &[(&'static str, u64)]| {
        let labels = |outcome| OutcomeLabels { model: Arc::clone(&of.name), version: of.version, outcome };
        outcomes.iter().map(|(outcome, count)| (labels(*outcome), *count)).collect::<Vec<_>>()
    };
    let requests = models.iter().flat_map(|of| {
        let outcomes = [
            ("hit", of.hits),
            ("stale", of.stale),
            ("coalesced", of.coalesced),
            ("miss", of.misses),
            ("bypass", of.bypassed),
        ];
        by_outcome(of, &outcomes)
    });
    let help = "Requests to models with a response cache, by how they came to their answers";
    counters(encoder, "adulis_cache_requests", help, requests)?;
    let rows = models
        .iter()
        .flat_map(|of| by_outcome(of, &[("found", of.rows_found), ("run", of.rows_run)]));
    counters(
        encoder,
        "adulis_cache_rows",
        "Rows of these requests that were found, and that were run",
        rows,
    )
}

fn shared(encoder: &mut DescriptorEncoder<'_>, tier: &SharedTierReport) -> Result<(), fmt::Error> {
    let labels = |outcome| SharedLabels { tier: Arc::clone(&tier.name), outcome };
    let values = [
        ("hit", tier.hits),
        ("miss", tier.misses),
        ("rejected", tier.rejected),
        ("written", tier.written),
        ("dropped", tier.dropped),
    ];
    let values = values.map(|(outcome, count)| (labels(outcome), count));
    counters(
        encoder,
        "adulis_cache_tier_values",
        "Values of a shared tier, by what became of them",
        values,
    )?;
    let failures = [
        (labels("failed"), tier.failures),
        (labels("skipped"), tier.skipped),
    ];
    let help = "Calls to a shared tier that failed, and that were not made because others had";
    counters(encoder, "adulis_cache_tier_failures", help, failures)?;
    let of_tier = |value| [(NameLabels { tier: Arc::clone(&tier.name) }, value)];
    let help = "Purges that other replicas could not be told of yet";
    gauges(encoder, "adulis_cache_purges_pending", help, of_tier(tier.purges_pending))?;
    gauges(
        encoder,
        "adulis_cache_tier_left_alone",
        "1 while a shared tier is left alone after failures",
        of_tier(u64::from(tier.is_left_alone)),
    )
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, u64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, u64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
    }
    Ok(())
}

impl MetricRegistry {
    /// Adds the metrics of the response cache.
    pub fn register_cache(&self, report: impl Fn() -> CacheReport + Send + Sync + 'static) {
        self.register_collector(Box::new(Cache(report)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn what_the_cache_holds_is_asked_for_at_each_scrape() {
        let registry = MetricRegistry::default();
        CacheMetrics::default().register(&registry);
        registry.register_cache(|| CacheReport {
            capacity_bytes: 1000,
            bytes: 500,
            entries: 2,
            shared: Some(SharedTierReport {
                name: "redis".into(),
                is_left_alone: true,
                failures: 3,
                ..SharedTierReport::default()
            }),
            models: vec![CachedModel {
                name: "m".into(),
                version: 2,
                entries: 2,
                bytes: 500,
                hits: 7,
                rows_run: 4,
                ..CachedModel::default()
            }],
        });
        let text = registry.render(MetricsFormat::OpenMetrics);
        for line in [
            "adulis_cache_capacity_bytes{tier=\"memory\"} 1000",
            "adulis_cache_entries{model=\"m\",version=\"2\",tier=\"memory\"} 2",
            "adulis_cache_bytes{model=\"m\",version=\"2\",tier=\"memory\"} 500",
            "adulis_cache_evictions_total{model=\"m\",version=\"2\",tier=\"memory\"} 0",
            "adulis_cache_requests_total{model=\"m\",version=\"2\",outcome=\"hit\"} 7",
            "adulis_cache_requests_total{model=\"m\",version=\"2\",outcome=\"bypass\"} 0",
            "adulis_cache_rows_total{model=\"m\",version=\"2\",outcome=\"run\"} 4",
            "adulis_cache_tier_values_total{tier=\"redis\",outcome=\"rejected\"} 0",
            "adulis_cache_tier_failures_total{tier=\"redis\",outcome=\"failed\"} 3",
            "adulis_cache_tier_left_alone{tier=\"redis\"} 1",
            "adulis_cache_purges_pending{tier=\"redis\"} 0",
            "adulis_cache_lookup_duration_seconds_count{tier=\"memory\"} 0",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in\n{text}");
        }
    }
}
