use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::{BackendStatus, Entry, PoolError};

/// What every pool can do, whatever store is behind it: keep values by key, each for a while.
///
/// Clones share the pool. No operation takes longer than [`crate::PoolOptions::timeout`], and none takes any time while the
/// breaker is open. Dropping an operation's future cancels it.
pub trait KeyValuePool: fmt::Debug + Clone + Send + Sync + 'static {
    /// What metrics and logs call the store.
    const KIND: &'static str;

    /// The values of these keys, in their order; `None` where there is none.
    ///
    /// # Errors
    /// As [`PoolError`] says, if nothing can be said of any key, or a key is none that the store takes.
    fn get_many<K: AsRef<[u8]> + Sync>(
        &self,
        keys: &[K],
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, PoolError>> + Send;

    /// Sets these keys, each for its time to live. Values that the store does not take are left out.
    ///
    /// # Errors
    /// As [`PoolError`] says; some may be set then. [`PoolError::TooLarge`] if one was left out and the others are set.
    fn set_many<K: AsRef<[u8]> + Sync>(
        &self,
        entries: &[Entry<K>],
    ) -> impl Future<Output = Result<(), PoolError>> + Send;

    /// Sets a key for `ttl` unless it is there. True if it was set.
    ///
    /// # Errors
    /// As [`PoolError`] says.
    fn set_if_absent(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Duration,
    ) -> impl Future<Output = Result<bool, PoolError>> + Send;

    /// Removes these keys; returns how many were there.
    ///
    /// # Errors
    /// As [`PoolError`] says; some may be removed then.
    fn delete<K: AsRef<[u8]> + Sync>(
        &self,
        keys: &[K],
    ) -> impl Future<Output = Result<u64, PoolError>> + Send;

    /// Removes a key if it has this value: what another has set meanwhile stays. True if it was removed.
    ///
    /// # Errors
    /// As [`PoolError`] says.
    fn delete_if_equals(
        &self,
        key: &[u8],
        value: &[u8],
    ) -> impl Future<Output = Result<bool, PoolError>> + Send;

    /// Of each server that has a breaker of its own, whether it answers, and since when.
    fn backends(&self) -> Vec<BackendStatus>;
}
