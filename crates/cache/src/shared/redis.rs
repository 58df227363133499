use std::time::Duration;

use adulis_pool::RedisPool;
use adulis_types::BoxFuture;
use bytes::Bytes;

use super::naming::Naming;
use super::{Holder, SharedTier, StoredValue, TierError};
use crate::Key;

/// Values and leases in Redis: one server, a Sentinel's master, or a cluster.
///
/// Keys are spread over a cluster's slots, each by itself: nothing is asked that would need two of them in one.
#[derive(Debug, Clone)]
pub struct RedisTier {
    pool: RedisPool,
    naming: Naming,
}

impl RedisTier {
    /// Keys begin with `prefix`.
    #[must_use]
    pub fn new(pool: RedisPool, prefix: &str) -> Self {
        Self { pool, naming: Naming::new(prefix) }
    }
}

impl SharedTier for RedisTier {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn get_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, TierError>> {
        Box::pin(async move {
            let names = self.naming.values(keys);
            Ok(self.pool.get_many(&names).await?)
        })
    }

    fn set_many<'a>(&'a self, values: &'a [StoredValue]) -> BoxFuture<'a, Result<(), TierError>> {
        Box::pin(async move { Ok(self.pool.set_many(&self.naming.entries(values)).await?) })
    }

    fn lease<'a>(
        &'a self,
        key: &'a Key,
        holder: Holder,
        duration: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        Box::pin(async move {
            let name = self.naming.lease(key);
            Ok(self.pool.set_if_absent(name.as_bytes(), &holder.0, duration).await?)
        })
    }

    fn release<'a>(&'a self, key: &'a Key, holder: Holder) -> BoxFuture<'a, Result<(), TierError>> {
        Box::pin(async move {
            let name = self.naming.lease(key);
            self.pool.delete_if_equals(name.as_bytes(), &holder.0).await?;
            Ok(())
        })
    }
}
