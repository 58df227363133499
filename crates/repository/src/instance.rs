/// So many instances of a model on one kind of device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceGroup {
    /// Its name; `None`: the model's, with the group's position.
    pub name: Option<String>,
    /// Instances: in all for the CPU, per GPU for GPUs. At least 1.
    pub count: usize,
    /// The kind of device.
    pub kind: InstanceKind,
    /// The GPUs; empty stands for all there are. Empty for [`InstanceKind::Cpu`].
    pub gpus: Vec<u32>,
    /// What an instance needs before it may run. `None`: nothing, and its turn comes like any other's.
    pub rate_limiter: Option<RateLimiter>,
    /// Name of the host policy, which takes no effect.
    pub host_policy: Option<String>,
}

impl Default for InstanceGroup {
    /// One instance, wherever the backend thinks best.
    fn default() -> Self {
        Self {
            name: None,
            count: 1,
            kind: InstanceKind::default(),
            gpus: Vec::new(),
            rate_limiter: None,
            host_policy: None,
        }
    }
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

/// What an instance needs before it may run, and how often its turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimiter {
    /// What it takes while it runs.
    pub resources: Vec<Resource>,
    /// An instance of priority `p` gets `1/p` of the turns that one of priority 1 gets. At least 1.
    pub priority: u32,
}

impl Default for RateLimiter {
    /// No resources, priority 1.
    fn default() -> Self {
        Self { resources: Vec::new(), priority: 1 }
    }
}

/// So many units of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Whether there is one pool for the machine, and not one per device.
    pub global: bool,
    /// Units that one run takes.
    pub count: u32,
}
