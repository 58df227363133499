use std::time::Instant;

use smallvec::SmallVec;

/// What a free instance should do.
#[derive(Debug)]
pub enum SequenceDecision<T> {
    /// Nothing is waiting for this instance.
    Idle,
    /// Nothing yet: ask again at this moment, or when something is pushed.
    WaitUntil(Instant),
    /// Run this batch, and say when it is done: [`crate::SequenceQueue::complete`].
    Dispatch(SequenceBatch<T>),
}

/// Requests of different sequences that run together.
#[derive(Debug)]
pub struct SequenceBatch<T> {
    /// The requests, by row. At least one, and at most one of each sequence.
    pub members: SmallVec<[SequenceMember<T>; 1]>,
    /// Rows of the batch, those of slots without a request included.
    pub rows: usize,
}

/// One request of a batch.
#[derive(Debug, Clone)]
pub struct SequenceMember<T> {
    /// The slot of its sequence on this instance. It is the sequence's alone for as long as that is open.
    pub slot: usize,
    /// Its row in the batch: its slot, where sequences own rows.
    pub row: usize,
    /// Whether it begins its sequence.
    pub start: bool,
    /// Whether it ends its sequence.
    pub end: bool,
    /// What was pushed.
    pub payload: T,
    /// When it was pushed.
    pub enqueued: Instant,
}

/// How a batch ended, for [`crate::SequenceQueue::complete`].
#[derive(Debug, Clone, Copy, Default)]
pub struct RunEnd<'a> {
    /// Slots whose request failed.
    pub failed: &'a [usize],
    /// Whether the instance lost what it knew of its sequences: all of them are given up.
    pub lost: bool,
}
