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
struct PoolLabels {
    pool: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    pool: Arc<str>,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimeoutLabels {
    pool: Arc<str>,
    waited_for: &'static str,
}

/// What a pool is like at the moment of a scrape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolGauges {
    /// Connections with at least one operation under way.
    pub in_use: usize,
    /// Connections without.
    pub idle: usize,
    /// Operations that wait for a connection.
    pub waiting: usize,
    /// Most connections that it opens.
    pub max: usize,
    /// Whether its breaker lets operations pass: 0 closed, 1 half-open, 2 open. `None` for a pool without one.
    pub breaker: Option<u8>,
}

type Observed = (Arc<str>, Box<dyn Fn() -> PoolGauges + Send + Sync>);

/// Metrics of the pools of connections to what is outside: Redis, Memcached, SQL. See `docs/metrics.md` for the list. Clones
/// share them.
#[derive(Clone, Default)]
pub struct PoolMetrics {
    waits: Family<PoolLabels, DurationHistogram>,
    operations: Family<OperationLabels, DurationHistogram>,
    timeouts: Family<TimeoutLabels, Counter>,
    errors: Family<OperationLabels, Counter>,
    connections: Family<PoolLabels, Counter>,
    openings: Family<PoolLabels, Counter>,
    refused: Family<PoolLabels, Counter>,
    retries: Family<PoolLabels, Counter>,
    observed: Arc<Mutex<Vec<Observed>>>,
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics").finish_non_exhaustive()
    }
}

impl PoolMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        let metrics = Self::default();
        let Self {
            waits,
            operations,
            timeouts,
            errors,
            connections,
            openings,
            refused,
            retries,
            observed,
        } = metrics.clone();
        registry.register(
            "adulis_pool_wait_seconds",
            "Time that an operation waited for a connection",
            waits,
        );
        let help = "Time that an operation took, the wait for its connection included";
        registry.register("adulis_pool_operation_seconds", help, operations);
        let help = "Operations that gave up, by what they waited for";
        registry.register("adulis_pool_timeouts", help, timeouts);
        registry.register("adulis_pool_errors", "Operations that failed, timeouts included", errors);
        registry.register("adulis_pool_connections_opened", "Connections that were opened", connections);
        registry.register("adulis_pool_breaker_openings", "Times that the breaker opened", openings);
        let help = "Operations that were not tried because the breaker was open";
        registry.register("adulis_pool_refused", help, refused);
        let help = "Operations that were done once more because their connection broke";
        registry.register("adulis_pool_retries", help, retries);
        registry.register_collector(Box::new(Gauges(observed)));
        metrics
    }

    /// The handles of one pool. Makes its series appear. `observe` is asked at each scrape, as long as the process lives: let
    /// it hold the pool weakly.
    #[must_use]
    pub fn pool(&self, name: &str, observe: impl Fn() -> PoolGauges + Send + Sync + 'static) -> PoolHandles {
        let pool: Arc<str> = name.into();
        self.observed.lock().push((Arc::clone(&pool), Box::new(observe)));
        let labels = PoolLabels { pool: Arc::clone(&pool) };
        let timeout = |waited_for| {
            self.timeouts.get_or_create_owned(&TimeoutLabels { pool: Arc::clone(&pool), waited_for })
        };
        PoolHandles {
            wait: self.waits.get_or_create_owned(&labels),
            acquire_timeouts: timeout("connection"),
            operation_timeouts: timeout("answer"),
            connections: self.connections.get_or_create_owned(&labels),
            openings: self.openings.get_or_create_owned(&labels),
            refused: self.refused.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
            operations: self.operations.clone(),
            errors: self.errors.clone(),
            pool,
        }
    }
}

/// Handles of one pool's metrics.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "each field is the metric of its name, see PoolMetrics::register"
)]
pub struct PoolHandles {
    pub wait: DurationHistogram,
    pub acquire_timeouts: Counter,
    pub operation_timeouts: Counter,
    pub connections: Counter,
    pub openings: Counter,
    pub refused: Counter,
    pub retries: Counter,
    operations: Family<OperationLabels, DurationHistogram>,
    errors: Family<OperationLabels, Counter>,
    pool: Arc<str>,
}

impl PoolHandles {
    /// The handles of operations of this name. To be looked up once.
    #[must_use]
    pub fn operation(&self, operation: &'static str) -> PoolOperation {
        let labels = OperationLabels { pool: Arc::clone(&self.pool), operation };
        PoolOperation {
            latency: self.operations.get_or_create_owned(&labels),
            errors: self.errors.get_or_create_owned(&labels),
        }
    }
}

/// Handles of the metrics of one pool's operations of one name.
#[derive(Debug, Clone)]
pub struct PoolOperation {
    /// How long they took, those that failed included.
    pub latency: DurationHistogram,
    /// Those that failed.
    pub errors: Counter,
}

/// The gauges, asked for at each scrape.
struct Gauges(Arc<Mutex<Vec<Observed>>>);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let observed = self.0.lock();
        let pools: Vec<(PoolLabels, PoolGauges)> = observed
            .iter()
            .map(|(pool, observe)| (PoolLabels { pool: Arc::clone(pool) }, observe()))
            .collect();
        drop(observed);
        let mut gauge = |name: &str, help: &str, read: fn(&PoolGauges) -> Option<usize>| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, gauges) in &pools {
                if let Some(value) = read(gauges) {
                    let value = i64::try_from(value).unwrap_or(i64::MAX);
                    metric.encode_family(labels)?.encode_gauge(&value)?;
                }
            }
            Ok::<(), fmt::Error>(())
        };
        let help = "Connections with at least one operation under way";
        gauge("adulis_pool_connections_in_use", help, |pool| Some(pool.in_use))?;
        gauge("adulis_pool_connections_idle", "Open connections without", |pool| Some(pool.idle))?;
        gauge("adulis_pool_connections_max", "Most connections of the pool", |pool| Some(pool.max))?;
        gauge("adulis_pool_waiting", "Operations that wait for a connection", |pool| Some(pool.waiting))?;
        let help = "State of the breaker: 0 closed, 1 half-open, 2 open";
        gauge("adulis_pool_breaker_state", help, |pool| pool.breaker.map(usize::from))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn a_pool_has_its_series() {
        let registry = MetricRegistry::default();
        let metrics = PoolMetrics::register(&registry);
        let gauges = PoolGauges { in_use: 2, idle: 1, waiting: 5, max: 8, breaker: Some(2) };
        let pool = metrics.pool("redis", move || gauges);
        let _without_breaker = metrics.pool("sql", PoolGauges::default);
        pool.wait.observe(Duration::from_millis(1));
        pool.acquire_timeouts.inc();
        let get = pool.operation("get");
        get.latency.observe(Duration::from_millis(1));
        get.errors.inc();
        let text = registry.render(MetricsFormat::OpenMetrics);
        for line in [
            "adulis_pool_connections_in_use{pool=\"redis\"} 2",
            "adulis_pool_connections_idle{pool=\"redis\"} 1",
            "adulis_pool_connections_max{pool=\"redis\"} 8",
            "adulis_pool_waiting{pool=\"redis\"} 5",
            "adulis_pool_breaker_state{pool=\"redis\"} 2",
            "adulis_pool_wait_seconds_count{pool=\"redis\"} 1",
            "adulis_pool_operation_seconds_count{pool=\"redis\",operation=\"get\"} 1",
            "adulis_pool_errors_total{pool=\"redis\",operation=\"get\"} 1",
            "adulis_pool_timeouts_total{pool=\"redis\",waited_for=\"connection\"} 1",
            "adulis_pool_timeouts_total{pool=\"redis\",waited_for=\"answer\"} 0",
            "adulis_pool_breaker_openings_total{pool=\"sql\"} 0",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in {text}");
        }
        assert!(!text.contains("adulis_pool_breaker_state{pool=\"sql\"}"), "{text}");
    }
}
