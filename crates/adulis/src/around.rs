//! What stands around the engine's service.

use std::sync::Arc;

use adulis_pool::RedisPool;
use adulis_store::{Lookups, Store};
use adulis_telemetry::PoolMetrics;
use adulis_types::{Dependency, InferenceService};

use crate::dependency::PoolDependency;
use crate::quotas::OpenQuotas;
use crate::{BuildError, RedisServer};

/// What models look up in Redis.
pub(crate) struct Hashes {
    pool: RedisPool,
    key_prefix: String,
}

impl Hashes {
    const NAME: &'static str = "lookup_redis";

    pub(crate) fn open(redis: &RedisServer, metrics: &PoolMetrics) -> Result<Self, BuildError> {
        let pool = redis.open(Self::NAME, metrics).map_err(BuildError::Lookup)?;
        Ok(Self { pool, key_prefix: redis.key_prefix.clone() })
    }

    pub(crate) fn dependency(self) -> Arc<dyn Dependency> {
        Arc::new(PoolDependency::new(Self::NAME, move || vec![self.pool.status()]))
    }
}

/// What stands around the service, from within: what is logged and counted is what clients see, with the features in it.
pub(crate) fn around(
    service: Arc<dyn InferenceService>,
    store: Option<&Arc<Store>>,
    hashes: Option<&Hashes>,
    quotas: Option<&OpenQuotas>,
) -> Arc<dyn InferenceService> {
    let (service, lookups) = match store {
        Some(store) => (store.wrap(service), store.lookups()),
        None => (service, Lookups::default()),
    };
    let lookups = match hashes {
        Some(hashes) => lookups.with_hashes(hashes.pool.clone(), &hashes.key_prefix),
        None => lookups,
    };
    let service = lookups.wrap(service);
    // What is over a limit is neither looked up nor logged.
    match quotas {
        Some(quotas) => quotas.wrap(service),
        None => service,
    }
}
