mod answers;
mod batches;
mod sequences;

use std::time::Instant;

use adulis_batcher::Batch;

use answers::Answers;
pub(crate) use answers::Replies;
pub(crate) use batches::{
    BatchLane, INLINE_PATIENCE, NewPlace, NotQueued, Overdue, Place, Queued, Rules, Size,
};
pub(crate) use sequences::{BoundSequences, Ended, SequenceLane, SequenceNotQueued};

use crate::instance::Slot;
use crate::job::Job;

/// The scheduling state of one model version: its queue, its free instances, what is running.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per model, and ordinary requests reach theirs without a further step"
)]
pub(crate) enum Lane {
    /// Requests are independent of each other.
    Batches(BatchLane),
    /// Requests form sequences.
    Sequences(Box<SequenceLane>),
}

/// Work that has its instance.
pub(crate) struct Bound {
    pub(crate) work: Work,
    pub(crate) slot: Slot,
    pub(crate) at: Instant,
}

/// Requests that run together.
pub(crate) enum Work {
    Batch(Batch<Job>),
    /// Boxed, so that ordinary work is no larger for it.
    Sequences(Box<BoundSequences>),
}

/// Jobs that leave the queue without a run. Their callers are to be told.
#[derive(Default)]
pub(crate) struct Shed {
    /// Past their deadline or queue timeout.
    pub(crate) expired: Vec<Job>,
    /// Not to be answered before their deadline any more.
    pub(crate) late: Vec<Job>,
}

/// What an execution thread finds when it looks at a lane.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, which costs less than an allocation"
)]
pub(crate) enum Next {
    Nothing,
    Later(Instant),
    Run {
        bound: Bound,
        /// Whether another thread should look at the lane, too.
        more: bool,
    },
}

impl Lane {
    /// Looks at the queue on behalf of the executor. What is not going to run goes to `shed`.
    pub(crate) fn next(&self, now: Instant, shed: &mut Shed) -> Next {
        match self {
            Self::Batches(lane) => lane.next(now, shed),
            Self::Sequences(lane) => lane.next(now),
        }
    }

    /// Takes everything out, and lets nothing in any more; what is running goes on.
    pub(crate) fn close(&self) -> Vec<Job> {
        match self {
            Self::Batches(lane) => lane.close(),
            Self::Sequences(lane) => lane.close().into_iter().map(|waiting| waiting.job).collect(),
        }
    }
}
