use std::hash::RandomState;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::Key;
use crate::entry::{Entry, Freshness};

/// What an entry is reckoned to take on average, for the first size of tables. It need not be right.
const TYPICAL_BYTES: u64 = 2048;
/// Most entries that tables are made for before there are any.
const MAX_TYPICAL_ENTRIES: u64 = 1 << 16;
/// Shards at most: an answer must fit into one of them, and threads seldom meet in as many.
const MAX_SHARDS: usize = 16;
/// A shard has at least this much, so that small caches can hold what ordinary models answer.
const MIN_SHARD_BYTES: u64 = 1 << 20;

/// Answers in this process's memory: bounded in bytes, shared by all models, each entry kept as long as it is worth it.
///
/// The table is `quick_cache`'s: its policy (Clock-PRO, in the form that is known as S3-FIFO) keeps what is asked for again
/// through any scan of what is asked for once. The bound holds at every moment: what is to make room goes before what is new
/// comes, under one lock of a shard. Entries that are out of date stay until they are replaced or make room.
pub(crate) struct MemoryTier {
    cache: Cache<Key, Stored, ByBytes, RandomState, Evictions>,
    /// Most bytes of one entry.
    max_entry_bytes: usize,
}

type Stored = Arc<Entry>;

impl MemoryTier {
    /// Holds `bytes` in all; nothing where that is 0. No entry takes more than `max_entry_bytes`, nor more than fits its shard.
    pub(crate) fn new(bytes: u64, max_entry_bytes: usize) -> Self {
        let shards = usize::try_from(bytes / MIN_SHARD_BYTES).unwrap_or(MAX_SHARDS).clamp(1, MAX_SHARDS);
        // Rounded down: shards are a power of two.
        let shards = 1 << shards.ilog2();
        let typical = (bytes / TYPICAL_BYTES).clamp(32 * shards as u64, MAX_TYPICAL_ENTRIES);
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(usize::try_from(typical).unwrap_or(usize::MAX))
            // Shards round their parts up.
            .weight_capacity(bytes - bytes % shards as u64)
            .build()
            .expect("invariant: every number that the builder needs is given");
        let cache = Cache::with_options(options, ByBytes, RandomState::new(), Evictions);
        // What is larger than the part for entries that proved their worth is not taken by the table.
        let fits = usize::try_from(cache.shard_capacity() / 10 * 9).unwrap_or(usize::MAX);
        Self { cache, max_entry_bytes: max_entry_bytes.min(fits) }
    }

    /// What is known under a key and not out of date.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<(Stored, Freshness)> {
        let entry = self.cache.get(key)?;
        match entry.freshness(now) {
            Freshness::Expired => None,
            freshness => Some((entry, freshness)),
        }
    }

    /// Whether an entry of this many bytes could be kept.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        bytes <= self.max_entry_bytes
    }

    /// Keeps an entry, in place of what was there under its key.
    pub(crate) fn insert(&self, key: Key, entry: Stored) {
        let mut evicted = Evicted::new();
        self.cache.insert_with_lifecycle(key, entry, &mut evicted);
        for (of, entry) in evicted {
            // What was replaced did not make room.
            if of != key
                && let Some(scope) = entry.scope()
            {
                scope.evicted();
            }
        }
    }

    /// Drops what is known under a key.
    pub(crate) fn remove(&self, key: &Key) {
        self.cache.remove(key);
    }

    /// Drops what belongs to a model, or everything. Returns how many entries that were.
    ///
    /// Cost: a look at every entry, one shard after the other.
    pub(crate) fn purge(&self, model: Option<&str>) -> u64 {
        let before = self.entries();
        match model {
            None => self.cache.clear(),
            Some(model) => {
                self.cache.retain(|_, entry| entry.scope().is_none_or(|scope| **scope.model() != *model));
            }
        }
        before.saturating_sub(self.entries())
    }

    pub(crate) fn entries(&self) -> u64 {
        self.cache.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.cache.capacity()
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Stored> for ByBytes {
    fn weight(&self, _: &Key, entry: &Stored) -> u64 {
        entry.bytes as u64
    }
}

/// What made room: dropped, and counted, when the shard's lock is free again.
type Evicted = SmallVec<[(Key, Stored); 2]>;

#[derive(Clone)]
struct Evictions;

impl Lifecycle<Key, Stored> for Evictions {
    type RequestState = Evicted;

    fn on_evict(&self, evicted: &mut Evicted, key: Key, entry: Stored) {
        evicted.push((key, entry));
    }
}

#[cfg(test)]
mod tests;
