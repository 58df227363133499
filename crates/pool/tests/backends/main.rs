//! Real servers: started, frozen, killed and started again by these tests. Where Redis or Memcached is not installed, they
//! fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod load;
mod memcached;
mod operations;
mod redis;
mod tls;
mod topologies;

use std::time::{Duration, Instant};

use adulis_pool::{BackendStatus, BreakerOptions, Health, PoolOptions};
use adulis_telemetry::{MetricRegistry, MetricsFormat};

/// What every operation may take. Long, since many tests share few cores: a server must not look slow because we are.
const TIMEOUT: Duration = Duration::from_millis(400);

/// Longer than any delay that has a cause other than a fault.
const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> PoolOptions {
    PoolOptions {
        timeout: TIMEOUT,
        acquire_timeout: TIMEOUT / 2,
        check_interval: Duration::from_millis(500),
        breaker: BreakerOptions {
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_millis(500),
            ..BreakerOptions::default()
        },
        ..PoolOptions::default()
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a backend is seen to be so.
async fn becomes(health: Health, status: impl Fn() -> BackendStatus) {
    let begun = Instant::now();
    while status().health != health {
        let waited = begun.elapsed();
        assert!(waited < PATIENCE, "waited in vain for it to be {}: {:?}", health.as_str(), status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A sample of the metrics.
fn metric(registry: &MetricRegistry, sample: &str) -> f64 {
    let text = registry.render(MetricsFormat::Text);
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{sample} is not in {text}"))
}
