mod naming;
mod pooled;

use std::time::Duration;

use adulis_types::BoxFuture;
use bytes::Bytes;

use crate::Key;

pub use pooled::PoolTier;

/// A tier that replicas share: a store of bytes by key, with expiry, somewhere on the network.
///
/// It is asked after the memory tier, by whoever will run the model otherwise. It is never trusted: what it gives is checked
/// (see [`crate::value`]), and whatever goes wrong with it means "skip". Callers bound each call by a deadline
/// ([`crate::GuardedTier`]). An implementation leaves what it asks alone for a while after failures, and answers
/// [`TierError::Open`] at once meanwhile: `adulis_retry::Breaker` is there for that, and pools have one. Dropping a future may
/// leave the call half done: every operation can be repeated.
pub trait SharedTier: Send + Sync + 'static {
    /// What metrics and logs call it: `redis`, `memcached`.
    fn name(&self) -> &'static str;

    /// Whether it is left alone for now, as a whole, after it failed.
    fn is_left_alone(&self) -> bool;

    /// The values of some keys, in the order of the keys; `None` where there is none. One round trip, as far as it can be.
    ///
    /// # Errors
    /// [`TierError`] if nothing can be said of any key. A tier of several servers of which one is down answers `None` for what
    /// lies there, and fails only where all did.
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, TierError>>;

    /// Stores some values, each until its time to live is over. One round trip, as far as it can be.
    ///
    /// # Errors
    /// [`TierError`] if any of them was not stored. Others may have been.
    fn set_many<'a>(&'a self, values: &'a [StoredValue]) -> BoxFuture<'a, Result<(), TierError>>;

    /// Takes the lease of a key, if nobody has it: whether it is `holder`'s now. It ends by itself after `duration`.
    ///
    /// A lease says that somebody is computing the value of this key; it lies beside values and is never one. It is a hint that
    /// saves work, and no lock that anything relies on.
    ///
    /// # Errors
    /// [`TierError`].
    fn lease<'a>(
        &'a self,
        key: &'a Key,
        holder: Holder,
        duration: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>>;

    /// Gives a lease back before its time. Nothing happens where `holder` has it no more.
    ///
    /// # Errors
    /// [`TierError`].
    fn release<'a>(&'a self, key: &'a Key, holder: Holder) -> BoxFuture<'a, Result<(), TierError>>;

    /// What lies under some marks, in their order; `None` where nothing does. Marks lie beside values and leases, and tell
    /// replicas of purges.
    ///
    /// # Errors
    /// [`TierError`], as of [`SharedTier::get_many`].
    fn marks<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, TierError>>;

    /// Changes a mark, unless something else than the old lies there by now: whether it did. Nothing may lie there for a moment
    /// between.
    ///
    /// # Errors
    /// [`TierError`]: it may be there, or nothing.
    fn replace_mark<'a>(
        &'a self,
        key: &'a Key,
        change: &'a MarkChange,
    ) -> BoxFuture<'a, Result<bool, TierError>>;
}

/// What is to be put in the place of a mark.
#[derive(Debug, Clone)]
pub struct MarkChange {
    /// What was read there; `None` for nothing.
    pub old: Option<Bytes>,
    /// What is to be there.
    pub new: [u8; 16],
    /// How long it may be kept.
    pub ttl: Duration,
}

/// A value on its way into a shared tier.
#[derive(Debug, Clone)]
pub struct StoredValue {
    /// Its key.
    pub key: Key,
    /// The value, as [`crate::value::encode`] wrote it.
    pub value: Bytes,
    /// How long it may be kept; at least a millisecond.
    pub ttl: Duration,
}

/// Who holds a lease: unlike anybody else, with overwhelming probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder(pub [u8; 16]);

/// Why a shared tier could not be asked. Nothing fails for it: the tier is skipped.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It is left alone for now, after it failed before.
    #[error("left alone after failures")]
    Open,
    /// Its client or its server says so.
    #[error("{0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TierError {
    /// What a client or server said.
    pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}
