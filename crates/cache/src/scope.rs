use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the cache has counted of one model version. All of it is relaxed: a reader may see one count before another.
#[derive(Debug, Default)]
pub struct Scope {
    model: Arc<str>,
    version: u64,
    entries: AtomicU64,
    bytes: AtomicU64,
    evictions: AtomicU64,
    hits: AtomicU64,
    stale: AtomicU64,
    coalesced: AtomicU64,
    misses: AtomicU64,
    bypassed: AtomicU64,
    rows_found: AtomicU64,
    rows_run: AtomicU64,
}

/// A reading of a [`Scope`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answers in the memory tier.
    pub entries: u64,
    /// What they take there, overhead included.
    pub bytes: u64,
    /// Answers that made room for others before their time.
    pub evictions: u64,
    /// Requests answered from what was known.
    pub hits: u64,
    /// Requests answered with something that was out of date, within the time that this is allowed.
    pub stale: u64,
    /// Requests answered by the run of another request.
    pub coalesced: u64,
    /// Requests for which the model ran.
    pub misses: u64,
    /// Requests that were not looked up, because they did not want to be.
    pub bypassed: u64,
    /// Rows (or whole requests) that were known.
    pub rows_found: u64,
    /// Rows (or whole requests) that were run.
    pub rows_run: u64,
}

/// How a request came to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    Hit,
    Stale,
    Coalesced,
    Miss,
    Bypass,
}

impl Scope {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(model: Arc<str>, version: u64) -> Arc<Self> {
        Arc::new(Self { model, version, ..Self::default() })
    }

    /// The model's name.
    #[must_use]
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What has been counted so far.
    #[must_use]
    pub fn read(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            entries: read(&self.entries),
            bytes: read(&self.bytes),
            evictions: read(&self.evictions),
            hits: read(&self.hits),
            stale: read(&self.stale),
            coalesced: read(&self.coalesced),
            misses: read(&self.misses),
            bypassed: read(&self.bypassed),
            rows_found: read(&self.rows_found),
            rows_run: read(&self.rows_run),
        }
    }

    pub(crate) fn count(&self, request: Counted) {
        let count = match request {
            Counted::Hit => &self.hits,
            Counted::Stale => &self.stale,
            Counted::Coalesced => &self.coalesced,
            Counted::Miss => &self.misses,
            Counted::Bypass => &self.bypassed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_rows(&self, found: usize, run: usize) {
        self.rows_found.fetch_add(found as u64, Ordering::Relaxed);
        self.rows_run.fetch_add(run as u64, Ordering::Relaxed);
    }

    pub(crate) fn added(&self, bytes: usize) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn removed(&self, bytes: usize) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn evicted(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
    }
}
