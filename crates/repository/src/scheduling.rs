use std::collections::BTreeMap;
use std::time::Duration;

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

/// So many instances of a model on one kind of device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceGroup {
    /// Instances: in all for the CPU, per GPU for GPUs. At least 1.
    pub count: usize,
    /// The kind of device.
    pub kind: InstanceKind,
    /// The GPUs; empty stands for all there are. Empty for [`InstanceKind::Cpu`].
    pub gpus: Vec<u32>,
}

/// Where instances run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstanceKind {
    /// On a GPU where there is one that the backend can use, else on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On a GPU, or not at all.
    Gpu,
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
