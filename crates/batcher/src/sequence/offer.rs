use std::fmt;

use crate::ShapeClass;

/// A request as it is offered to a [`crate::SequenceQueue`].
#[derive(Debug, Clone)]
pub struct SequenceOffer<K, T> {
    /// The sequence that it is of.
    pub id: K,
    /// Whose it is: nobody else's requests are taken while there is a sequence of this id.
    pub owner: u64,
    /// Whether it begins the sequence.
    pub start: bool,
    /// Whether it ends the sequence.
    pub end: bool,
    /// What it can share a batch with.
    pub class: ShapeClass,
    /// What the caller wants back.
    pub payload: T,
}

/// Names a request in the queue, for [`crate::SequenceQueue::cancel`]. Never used twice by the same queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SequenceTicket {
    pub(super) serial: u64,
    pub(super) record: u32,
}

/// A request that the queue did not take.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SequenceRefused<T> {
    /// What was offered.
    pub payload: T,
    /// Why it was refused.
    pub reason: SequenceRefusedReason,
}

impl<T> fmt::Debug for SequenceRefused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SequenceRefused").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Why a request of a sequence was refused. Whoever answers the client adds the model's name and the sequence's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SequenceRefusedReason {
    /// There is no such sequence, or it has ended or was given up, and the request does not start one.
    #[error("the first request of a sequence must start it")]
    NotStarted,
    /// There is a sequence of this id, and it is somebody else's.
    #[error("the sequence is somebody else's")]
    OfAnother,
    /// No room: try again later.
    #[error("the queue is full: its limit is {limit} requests")]
    QueueFull {
        /// The limit that was met.
        limit: usize,
    },
}
