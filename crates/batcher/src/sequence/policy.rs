use std::time::Duration;

/// How one model's sequences are scheduled.
///
/// Source: the sequence batching section of Triton's model configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct SequencePolicy {
    /// Instances of the model; at least 1.
    pub instances: usize,
    /// Sequences that are active at a time on one instance; at least 1. `max_batch_size` for [`SequenceStrategy::Direct`],
    /// `max_candidate_sequences` for [`SequenceStrategy::Oldest`].
    pub slots: usize,
    /// How requests of different sequences share a batch.
    pub strategy: SequenceStrategy,
    /// How long a sequence may be without a request, waiting or running, before it is given up.
    pub max_idle: Duration,
    /// Most requests waiting, over all sequences; 0 means no bound. As a sequence in the backlog has a request that waits,
    /// it bounds the sequences too: there are at most `instances` × `slots` + `max_queued_requests`.
    pub max_queued_requests: usize,
}

/// How requests of different sequences share a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum SequenceStrategy {
    /// A sequence owns a row of its instance's batch: its slot is its row. Rows of slots without a request go along empty.
    Direct {
        /// How long the oldest request waits for `minimum_slot_utilization`. More than an hour counts as an hour.
        max_queue_delay: Duration,
        /// The share of an instance's slots, from 0 to 1, that must have a request for a batch to go before the delay is over.
        minimum_slot_utilization: f32,
    },
    /// A sequence belongs to an instance, and its requests share batches as those of a model without sequences do.
    Oldest {
        /// Most requests in one batch; 0 counts as 1.
        max_batch_size: usize,
        /// Sizes that are worth dispatching at once.
        preferred_batch_sizes: Vec<usize>,
        /// How long a request that could run waits for others. More than an hour counts as an hour.
        max_queue_delay: Duration,
    },
}
