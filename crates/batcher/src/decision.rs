use std::time::Instant;

use smallvec::SmallVec;

use crate::ShapeBucket;

/// What a free instance should do.
#[derive(Debug)]
pub enum Decision<T> {
    /// Nothing is waiting.
    Idle,
    /// Nothing yet: ask again at this moment, or when something is pushed.
    WaitUntil(Instant),
    /// Run this batch.
    Dispatch(Batch<T>),
}

/// Requests that run together.
#[derive(Debug)]
pub struct Batch<T> {
    /// The requests, in the order in which they were taken: by level, then in the order they came. At least one.
    pub members: SmallVec<[Member<T>; 1]>,
    /// Rows of all members.
    pub rows: usize,
    /// How large they are.
    pub bucket: ShapeBucket,
    /// 0, 1, 2 … in the order in which the queue's batches are dispatched; see [`crate::OrderedRelease`].
    pub sequence: u64,
}

/// One request of a batch.
#[derive(Debug, Clone)]
pub struct Member<T> {
    /// What was pushed.
    pub payload: T,
    /// Its rows.
    pub rows: usize,
    /// When it was pushed.
    pub enqueued: Instant,
}
