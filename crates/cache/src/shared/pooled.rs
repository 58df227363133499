use std::time::Duration;

use adulis_pool::{Health, KeyValuePool, PoolError};
use adulis_types::BoxFuture;
use bytes::Bytes;

use super::naming::Naming;
use super::{Holder, MarkChange, SharedTier, StoredValue, TierError};
use crate::Key;

/// Values, leases and marks in whatever store stands behind a pool: Redis, as one server, a Sentinel's master or a cluster; or
/// Memcached servers.
///
/// Each key goes its own way: nothing is asked that would need two of them on one server. Values larger than the store takes are
/// not stored, and those beside them are. The pool's breaker is what leaves the store alone after failures.
#[derive(Debug, Clone)]
pub struct PoolTier<P> {
    pool: P,
    naming: Naming,
}

impl<P: KeyValuePool> PoolTier<P> {
    /// Keys begin with `prefix`.
    #[must_use]
    pub fn new(pool: P, prefix: &str) -> Self {
        Self { pool, naming: Naming::new(prefix) }
    }
}

impl<P: KeyValuePool> SharedTier for PoolTier<P> {
    fn name(&self) -> &'static str {
        P::KIND
    }

    fn is_left_alone(&self) -> bool {
        self.pool.backends().iter().all(|backend| backend.health == Health::Down)
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

    fn marks<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, TierError>> {
        Box::pin(async move {
            let names: Vec<String> = keys.iter().map(|key| self.naming.mark(key)).collect();
            Ok(self.pool.get_many(&names).await?)
        })
    }

    fn replace_mark<'a>(
        &'a self,
        key: &'a Key,
        change: &'a MarkChange,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        Box::pin(async move {
            let name = self.naming.mark(key);
            if let Some(old) = &change.old
                && !self.pool.delete_if_equals(name.as_bytes(), old).await?
            {
                return Ok(false);
            }
            Ok(self.pool.set_if_absent(name.as_bytes(), &change.new, change.ttl).await?)
        })
    }
}
