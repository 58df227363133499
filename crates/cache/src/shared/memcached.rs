use std::time::Duration;

use adulis_pool::{MemcachedPool, PoolError};
use adulis_types::BoxFuture;
use bytes::Bytes;

use super::naming::Naming;
use super::{Holder, SharedTier, StoredValue, TierError};
use crate::Key;

/// Values and leases in Memcached, spread over its servers by consistent hashing.
///
/// Times to live are whole seconds there. Values larger than Memcached takes are not stored, and those beside them are.
#[derive(Debug, Clone)]
pub struct MemcachedTier {
    pool: MemcachedPool,
    naming: Naming,
}

impl MemcachedTier {
    /// Keys begin with `prefix`.
    #[must_use]
    pub fn new(pool: MemcachedPool, prefix: &str) -> Self {
        Self { pool, naming: Naming::new(prefix) }
    }
}

impl SharedTier for MemcachedTier {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn get_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, TierError>> {
        Box::pin(async move {
            let names = self.naming.values(keys);
            Ok(self.pool.get_many(&names).await?)
        })
    }

    fn set_many<'a>(&'a self, values: &'a [StoredValue]) -> BoxFuture<'a, Result<(), TierError>> {
        Box::pin(async move {
            match self.pool.set_many(&self.naming.entries(values)).await {
                // What is too large is computed again each time; the tier is as well as it was.
                Err(PoolError::TooLarge { .. }) => Ok(()),
                result => Ok(result?),
            }
        })
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
