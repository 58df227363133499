use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::{Holder, Key, MarkChange, SharedTier, StoredValue, TierError};

/// Writes that are under way at a time. What comes while there are as many is not written.
const MAX_WRITES: usize = 64;

/// A shared tier of which no call takes longer than its deadline, and everything is counted.
///
/// While it fails it is left alone: that is the tier's own to know, which asks its backend over pools with breakers.
#[derive(Clone)]
pub struct GuardedTier(Arc<Guard>);

struct Guard {
    tier: Arc<dyn SharedTier>,
    deadline: Duration,
    writes: Arc<Semaphore>,
    counts: TierCounts,
    observe: OnceLock<Observe>,
}

/// Told how long each look-up took.
type Observe = Box<dyn Fn(Duration) + Send + Sync>;

/// What has been counted of a shared tier.
#[derive(Debug, Default)]
pub struct TierCounts {
    /// Values found.
    pub hits: AtomicU64,
    /// Values that were not there.
    pub misses: AtomicU64,
    /// Values found that were not what was stored: dropped.
    pub rejected: AtomicU64,
    /// Values written.
    pub written: AtomicU64,
    /// Values not written, because too many writes were under way.
    pub dropped: AtomicU64,
    /// Calls that failed or did not end in time.
    pub failures: AtomicU64,
    /// Calls that were not made, because others failed before.
    pub skipped: AtomicU64,
}

impl fmt::Debug for GuardedTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("GuardedTier");
        debug
            .field("tier", &self.name())
            .field("deadline", &self.0.deadline)
            .finish_non_exhaustive()
    }
}

impl GuardedTier {
    /// Bounds each call to `tier` by `deadline`.
    #[must_use]
    pub fn new(tier: Arc<dyn SharedTier>, deadline: Duration) -> Self {
        Self(Arc::new(Guard {
            tier,
            deadline,
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
            counts: TierCounts::default(),
            observe: OnceLock::new(),
        }))
    }

    /// Has somebody told how long each look-up takes; the first who asks for it is.
    pub fn observe(&self, observe: impl Fn(Duration) + Send + Sync + 'static) {
        let _ = self.0.observe.set(Box::new(observe));
    }

    /// What metrics call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.tier.name()
    }

    /// What has been counted.
    #[must_use]
    pub fn counts(&self) -> &TierCounts {
        &self.0.counts
    }

    /// Whether it is left alone at the moment.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.0.tier.is_left_alone()
    }

    /// The values of some keys, in their order.
    ///
    /// # Errors
    /// [`TierError`]: to be skipped.
    pub async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, TierError> {
        let began = Instant::now();
        let values = self.call(self.0.tier.get_many(keys)).await;
        if let Some(observe) = self.0.observe.get().filter(|_| !matches!(values, Err(TierError::Open))) {
            observe(began.elapsed());
        }
        let values = one_each(values?, keys)?;
        let found = values.iter().flatten().count();
        self.0.counts.hits.fetch_add(found as u64, Ordering::Relaxed);
        self.0.counts.misses.fetch_add((values.len() - found) as u64, Ordering::Relaxed);
        Ok(values)
    }

    /// Stores some values.
    ///
    /// # Errors
    /// [`TierError`]: they are not there, or not all.
    pub async fn set_many(&self, values: &[StoredValue]) -> Result<(), TierError> {
        self.call(self.0.tier.set_many(values)).await?;
        self.0.counts.written.fetch_add(values.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the lease of a key, if nobody has it.
    ///
    /// # Errors
    /// [`TierError`]: it is not known who has it.
    pub async fn lease(&self, key: &Key, holder: Holder, duration: Duration) -> Result<bool, TierError> {
        self.call(self.0.tier.lease(key, holder, duration)).await
    }

    /// Gives a lease back.
    ///
    /// # Errors
    /// [`TierError`]: it will end by itself.
    pub async fn release(&self, key: &Key, holder: Holder) -> Result<(), TierError> {
        self.call(self.0.tier.release(key, holder)).await
    }

    /// What lies under some marks, in their order.
    ///
    /// # Errors
    /// [`TierError`]: nothing is known of them.
    pub async fn marks(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, TierError> {
        one_each(self.call(self.0.tier.marks(keys)).await?, keys)
    }

    /// Changes a mark, unless something else than the old lies there by now: whether it did.
    ///
    /// # Errors
    /// [`TierError`]: it is not known what lies there.
    pub async fn replace_mark(&self, key: &Key, change: &MarkChange) -> Result<bool, TierError> {
        self.call(self.0.tier.replace_mark(key, change)).await
    }

    /// A place for a write in the background; `None` while there are too many, which is counted for `values` values.
    pub(crate) fn write_permit(&self, values: usize) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.0.writes).try_acquire_owned().ok();
        if permit.is_none() {
            self.0.counts.dropped.fetch_add(values as u64, Ordering::Relaxed);
        }
        permit
    }

    pub(crate) fn rejected(&self) {
        self.0.counts.rejected.fetch_add(1, Ordering::Relaxed);
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, TierError>>) -> Result<T, TierError> {
        let Guard { deadline, counts, .. } = &*self.0;
        let outcome =
            tokio::time::timeout(*deadline, call).await.unwrap_or(Err(TierError::Timeout(*deadline)));
        match &outcome {
            Ok(_) => {}
            Err(TierError::Open) => {
                counts.skipped.fetch_add(1, Ordering::Relaxed);
            }
            // That it is left alone from now on, or is well again, is told by whoever finds that out.
            Err(error) => {
                counts.failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(tier = self.name(), %error, "a call to the cache tier failed");
            }
        }
        outcome
    }
}

/// As many values as keys, or it is no answer.
fn one_each(values: Vec<Option<Bytes>>, keys: &[Key]) -> Result<Vec<Option<Bytes>>, TierError> {
    if values.len() == keys.len() {
        return Ok(values);
    }
    let (got, want) = (values.len(), keys.len());
    Err(TierError::failed(format!("it gave {got} values for {want} keys")))
}
