//! The response cache that replicas share: which store, and how it is reached.

use std::sync::Arc;
use std::time::Duration;

use adulis_cache::{GuardedTier, PoolTier};
use adulis_pool::{KeyValuePool, MemcachedPool, MemcachedServers, PoolError, PoolOptions};
use adulis_telemetry::PoolMetrics;
use adulis_types::Dependency;

use crate::RedisServer;
use crate::dependency::PoolDependency;

/// Added to what an operation may take before the cache gives up on its tier: the pool is the first to say so, and learns from
/// it.
const GRACE: Duration = Duration::from_millis(20);

/// Where replicas share the answers of the response cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedCache {
    /// In Redis.
    Redis(RedisServer),
    /// In Memcached.
    Memcached(MemcachedCache),
}

/// Memcached as a tier of the response cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemcachedCache {
    /// The servers.
    pub servers: MemcachedServers,
    /// What every key begins with.
    pub key_prefix: String,
    /// Largest value.
    pub max_value_bytes: usize,
    /// Size and patience, for each server.
    pub pool: PoolOptions,
}

/// A tier, and what readiness tells of it.
pub(crate) type Opened = (GuardedTier, Arc<dyn Dependency>);

impl SharedCache {
    /// Connects in the background.
    pub(crate) fn open(&self, metrics: &PoolMetrics) -> Result<Opened, PoolError> {
        match self {
            Self::Redis(redis) => {
                let pool = redis.open("redis", metrics)?;
                Ok(opened(pool, &redis.key_prefix, &redis.pool))
            }
            Self::Memcached(memcached) => {
                let pool = MemcachedPool::open("memcached", &memcached.servers, &memcached.pool, metrics)?
                    .with_max_value_bytes(memcached.max_value_bytes);
                Ok(opened(pool, &memcached.key_prefix, &memcached.pool))
            }
        }
    }
}

fn opened<P: KeyValuePool>(pool: P, key_prefix: &str, options: &PoolOptions) -> Opened {
    let tier = PoolTier::new(pool.clone(), key_prefix);
    let guarded = GuardedTier::new(Arc::new(tier), options.timeout + GRACE);
    (guarded, Arc::new(PoolDependency::new(P::KIND, move || pool.backends())))
}
