use std::time::Duration;

/// What keeps a model from harm, and others from it. What is `None` is the server's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Safeguards {
    /// Whether a request fails whose answer has a NaN or an infinity in it.
    pub refuse_non_finite_outputs: bool,
    /// The longest wait in the queue that a request is admitted for; zero: any.
    pub max_queue_time: Option<Duration>,
    /// How long a run may take; zero: any time.
    pub max_execution_time: Option<Duration>,
    /// How often the model is tried while nobody asks it anything; zero: never.
    pub self_check_interval: Option<Duration>,
}
