//! Pools over the servers that tests start.

use std::time::{Duration, Instant};

use adulis_pool::{BackendStatus, BreakerOptions, Health, PoolOptions, RedisPool, RedisTls, RedisUrl};
use adulis_telemetry::{MetricRegistry, PoolMetrics};

/// What an operation of a pool with [`pool_options`] may take. Long, since many tests share few cores: a server must not look
/// slow because we are.
pub const POOL_TIMEOUT: Duration = Duration::from_millis(400);

/// Longer than any delay that has a cause other than a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pools that notice soon that a server is gone, and that it is back.
#[must_use]
pub fn pool_options() -> PoolOptions {
    PoolOptions {
        timeout: POOL_TIMEOUT,
        acquire_timeout: POOL_TIMEOUT / 2,
        check_interval: Duration::from_millis(500),
        breaker: BreakerOptions {
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_millis(500),
            ..BreakerOptions::default()
        },
        ..PoolOptions::default()
    }
}

/// A pool of this name over the Redis at `url`.
///
/// # Panics
/// If the URL is none.
#[must_use]
pub fn redis_pool(name: &str, url: &str, options: &PoolOptions, registry: &MetricRegistry) -> RedisPool {
    let url: RedisUrl = url.parse().expect("a URL of Redis");
    let metrics = PoolMetrics::register(registry);
    RedisPool::open(name, (url, RedisTls::default()), options, &metrics).expect("a pool")
}

/// Waits until something holds.
///
/// # Panics
/// If it does not within a minute.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a backend is seen to be so.
///
/// # Panics
/// If it is not within a minute.
pub async fn becomes(health: Health, status: impl Fn() -> BackendStatus) {
    let begun = Instant::now();
    while status().health != health {
        let waited = begun.elapsed();
        assert!(waited < PATIENCE, "waited in vain for it to be {}: {:?}", health.as_str(), status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
