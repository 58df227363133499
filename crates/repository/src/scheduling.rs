use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Ensemble, SequenceBatching};

/// Which of a model's versions are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The so many highest.
    Latest(usize),
    /// All of them.
    All,
    /// These.
    Specific(Vec<u64>),
}

impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(1)
    }
}

/// How a model's requests are brought to its instances.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Scheduling {
    /// Nothing is configured: one by one, or joined where the batch size is derived from the model.
    #[default]
    Unconfigured,
    /// Joined into batches.
    Dynamic(DynamicBatching),
    /// By sequences.
    Sequence(SequenceBatching),
    /// Through other models: there is no model file.
    Ensemble(Ensemble),
}

impl Scheduling {
    /// The configuration of dynamic batching, if that is what it is.
    #[must_use]
    pub fn dynamic(&self) -> Option<&DynamicBatching> {
        match self {
            Scheduling::Dynamic(batching) => Some(batching),
            _ => None,
        }
    }

    /// The configuration of sequence batching, if that is what it is.
    #[must_use]
    pub fn sequence(&self) -> Option<&SequenceBatching> {
        match self {
            Scheduling::Sequence(batching) => Some(batching),
            _ => None,
        }
    }

    /// The ensemble's steps, if it is one.
    #[must_use]
    pub fn ensemble(&self) -> Option<&Ensemble> {
        match self {
            Scheduling::Ensemble(ensemble) => Some(ensemble),
            _ => None,
        }
    }
}

/// How requests are joined into batches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DynamicBatching {
    /// Rows at which a batch goes without waiting for more; ascending, no duplicates. Empty: `max_batch_size` alone.
    pub preferred_batch_size: Vec<usize>,
    /// Longest that a request waits for others while an instance is idle.
    pub max_queue_delay: Duration,
    /// Whether responses leave in the order that requests came.
    pub preserve_ordering: bool,
    /// Priority levels, 1 being the highest; 0: no levels.
    pub priority_levels: u32,
    /// The level of requests that name none. 0 where there are no levels.
    pub default_priority_level: u32,
    /// Queue limits of every level without its own.
    pub default_queue_policy: Option<QueuePolicy>,
    /// Queue limits by level.
    pub priority_queue_policy: BTreeMap<u32, QueuePolicy>,
}

/// Limits of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueuePolicy {
    /// What happens to a request whose time in the queue is over.
    pub timeout_action: TimeoutAction,
    /// Longest time in the queue; `None`: no limit.
    pub default_timeout: Option<Duration>,
    /// Whether a request may set a shorter time than the default.
    pub allow_timeout_override: bool,
    /// Most requests that wait; 0: no limit but the server's own.
    pub max_queue_size: usize,
}

/// What happens to a request whose time in the queue is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeoutAction {
    /// It is refused.
    #[default]
    Reject,
    /// It goes behind all that are in time.
    Delay,
}
