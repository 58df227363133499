use std::time::Duration;

/// About what a place in a queue costs a request by itself: a run shorter than this gains nothing from sharing it.
const QUEUEING: Duration = Duration::from_micros(3);

/// What a run must be shorter than, to be done on the thread where its request arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InlineLimits {
    /// While other requests for the model are about: then those that wait are better off in one batch, unless it saves less
    /// than waiting costs.
    pub(crate) busy: Duration,
    /// While nobody else asks for the model: about the time of a hand-over to an execution thread and back, which would be
    /// waited for in vain.
    pub(crate) alone: Duration,
}

impl InlineLimits {
    /// The limits under a threshold that was configured.
    pub(crate) fn new(threshold: Duration) -> Self {
        Self { busy: threshold.min(QUEUEING), alone: threshold }
    }
}
