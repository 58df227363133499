use std::fmt;
use std::time::{Duration, Instant};

use crate::ShapeClass;

/// A request as it is offered to a [`crate::BatchQueue`].
#[derive(Debug, Clone)]
pub struct Offer<T> {
    /// Its rows: the extent of the batch dimension. Zero rows count as one towards every limit.
    pub rows: usize,
    /// What it can share a batch with.
    pub class: ShapeClass,
    /// Its priority level, 1 being the highest; 0 means the default, and above the number of levels the lowest.
    pub priority: u64,
    /// Its own queue timeout, honoured where the level's policy allows it.
    pub timeout: Option<Duration>,
    /// The moment from which it is of no use to anybody: it then expires, whatever the policy.
    pub deadline: Option<Instant>,
    /// Whose it is, where flows of one level share the queue; `None`: nobody's in particular, which is a flow, too.
    pub flow: Option<Flow>,
    /// What the caller wants back.
    pub payload: T,
}

/// Requests that belong together, of which there may be more than their share: those of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Tells flows apart; 0 is nobody's.
    pub key: u64,
    /// Its share in proportion to those of others; nobody's is 1. 0 counts as 1.
    pub weight: u32,
}

/// Names a request in the queue, for [`crate::BatchQueue::cancel`]. Never used twice by the same queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(crate) serial: u64,
    pub(crate) slot: u32,
}

/// A request that the queue did not take.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused<T> {
    /// What was offered.
    pub payload: T,
    /// Why it was refused.
    pub reason: RefusedReason,
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Why a request was refused. The queue does not know its model's name: whoever answers the client adds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedReason {
    /// No room: try again later, or elsewhere.
    #[error("the queue is full: its limit is {limit} {what}")]
    QueueFull {
        /// The limit that was met.
        limit: usize,
        /// What it limits.
        what: QueueLimit,
    },
    /// More rows than a batch may have: the request will never be taken.
    #[error("the request has {rows} rows; the most in one batch is {max}")]
    TooManyRows {
        /// Rows of the request.
        rows: usize,
        /// `max_batch_size`.
        max: usize,
    },
}

/// What a limit of the queue counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueLimit {
    /// Requests waiting at one priority level.
    Requests,
    /// Rows waiting at all levels.
    Rows,
}

impl fmt::Display for QueueLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QueueLimit::Requests => "requests",
            QueueLimit::Rows => "rows",
        })
    }
}
