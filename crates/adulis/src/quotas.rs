//! Quotas with what they are counted in.

use std::sync::Arc;

use adulis_pool::PoolError;
use adulis_quota::{QuotaOptions, Quotas, SharedCounts};
use adulis_telemetry::{MetricRegistry, PoolMetrics};
use adulis_types::{Dependency, InferenceService};

use crate::dependency::PoolDependency;
use crate::{BuildError, RedisServer};

/// What the pool is called, and the Redis where readiness tells of it.
const NAME: &str = "quota_redis";

/// Limits of what identities may ask for, and the Redis that replicas count in together, if they do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QuotaSettings {
    pub(crate) options: QuotaOptions,
    pub(crate) redis: Option<RedisServer>,
}

/// Limits that are in force.
pub(crate) struct OpenQuotas {
    quotas: Quotas,
    shared: Option<SharedCounts>,
}

impl QuotaSettings {
    pub(crate) fn open(
        &self,
        registry: &MetricRegistry,
        pools: &PoolMetrics,
    ) -> Result<OpenQuotas, BuildError> {
        let open = |redis: &RedisServer| {
            let pool = redis.open(NAME, pools)?;
            Ok::<_, PoolError>(SharedCounts::new(pool, &redis.key_prefix))
        };
        let shared = self.redis.as_ref().map(open).transpose().map_err(BuildError::Quotas)?;
        Ok(OpenQuotas { quotas: Quotas::new(&self.options, shared.clone(), registry), shared })
    }
}

impl OpenQuotas {
    pub(crate) fn wrap(&self, service: Arc<dyn InferenceService>) -> Arc<dyn InferenceService> {
        self.quotas.wrap(service)
    }

    /// The limits themselves, for the end of the server.
    pub(crate) fn limits(&self) -> Quotas {
        self.quotas.clone()
    }

    pub(crate) fn dependency(self) -> Option<Arc<dyn Dependency>> {
        let shared = self.shared?;
        Some(Arc::new(PoolDependency::new(NAME, move || vec![shared.status()])))
    }
}
