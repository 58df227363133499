//! The response cache that replicas share: which store, and how it is reached.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adulis_cache::{GuardedTier, PoolTier};
use adulis_pool::{
    BackendStatus, Health, KeyValuePool, MemcachedPool, MemcachedServers, PoolError, PoolOptions, RedisPool,
    RedisTls, RedisUrl,
};
use adulis_telemetry::PoolMetrics;
use adulis_types::Dependency;

/// Added to what an operation may take before the cache gives up on its tier: the pool is the first to say so, and learns from
/// it.
const GRACE: Duration = Duration::from_millis(20);

/// Where replicas share the answers of the response cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedCache {
    /// In Redis.
    Redis(RedisCache),
    /// In Memcached.
    Memcached(MemcachedCache),
}

/// Redis as a tier of the response cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisCache {
    /// Where it is.
    pub url: RedisUrl,
    /// Whom we trust, in PEM; `None`: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key, in PEM, where the server asks for them.
    pub client_files: Option<(PathBuf, PathBuf)>,
    /// What every key begins with.
    pub key_prefix: String,
    /// Size and patience.
    pub pool: PoolOptions,
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
                let tls = redis.tls()?;
                let pool = RedisPool::open("redis", (redis.url.clone(), tls), &redis.pool, metrics)?;
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
    (guarded, Arc::new(Backend { name: P::KIND, status: Box::new(move || pool.backends()) }))
}

impl RedisCache {
    fn tls(&self) -> Result<RedisTls, PoolError> {
        let client = self.client_files.as_ref();
        let client = client.map(|(certificate, key)| Ok((read(certificate)?, read(key)?))).transpose()?;
        let roots = self.ca_file.as_deref().map(read).transpose()?;
        Ok(RedisTls { roots, client })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PoolError> {
    let fault = |error| PoolError::Setting(format!("{}: cannot be read: {error}", path.display()));
    std::fs::read(path).map_err(fault)
}

/// A backend as readiness tells it.
struct Backend {
    name: &'static str,
    status: Box<dyn Fn() -> Vec<BackendStatus> + Send + Sync>,
}

impl Dependency for Backend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn problem(&self) -> Option<Cow<'static, str>> {
        let told: Vec<String> = (self.status)().iter().filter_map(problem).collect();
        (!told.is_empty()).then(|| told.join("; ").into())
    }
}

fn problem(status: &BackendStatus) -> Option<String> {
    if status.health != Health::Down {
        return None;
    }
    let ago = status.since.elapsed().unwrap_or_default().as_secs();
    let reason = status.last_error.as_deref().unwrap_or("it does not answer");
    Some(format!("{} is down for {ago} s: {reason}", status.backend))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn readiness_tells_which_backends_are_down() {
        let status = |backend: &str, health| BackendStatus {
            backend: backend.into(),
            health,
            since: SystemTime::now(),
            last_error: Some("gone".to_owned()),
        };
        let of = |healths: [Health; 2]| {
            let status = move || {
                vec![
                    status("memcached a:1", healths[0]),
                    status("memcached b:1", healths[1]),
                ]
            };
            Backend { name: "memcached", status: Box::new(status) }.problem()
        };
        assert_eq!(of([Health::Up, Health::Unknown]), None);
        assert_eq!(of([Health::Up, Health::Down]).unwrap(), "memcached b:1 is down for 0 s: gone");
        assert!(of([Health::Down; 2]).unwrap().contains("; memcached b:1 is down"));
    }
}
