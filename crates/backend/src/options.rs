use std::collections::BTreeMap;
use std::path::PathBuf;

/// How hard the engine works on the graph before the first run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GraphOptimization {
    /// None.
    Disabled,
    /// Constant folding and redundant nodes.
    Basic,
    /// Fusions too.
    Extended,
    /// Layouts too.
    #[default]
    All,
}

/// One execution provider, with its options as its documentation names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionProvider {
    /// `cpu`, `cuda`, `tensorrt`, `openvino` …
    pub name: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Engine options of one model. Backends refuse what they cannot honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Graph optimisation level.
    pub graph_optimization: GraphOptimization,
    /// Execution providers, first choice first; empty means the CPU.
    pub providers: Vec<ExecutionProvider>,
    /// Whether a provider that cannot run here is skipped with a warning (true) or fails the load (false).
    pub provider_fallback: bool,
    /// GPU of this instance group, where one is used.
    pub device_id: Option<u32>,
    /// Threads within one operator; 0 leaves it to the engine: the process-wide pool, which is sized to the cores, or one
    /// thread for a model so small that a pool would slow it.
    pub intra_op_threads: usize,
    /// Whether the engine's CPU memory arena is used.
    pub arena: bool,
    /// Upper limit of the device memory arena in bytes, where the provider has one.
    pub arena_limit_bytes: Option<u64>,
    /// Folder for optimised models; `None` keeps none.
    pub optimized_cache: Option<PathBuf>,
    /// Parameters of the model's configuration, for the backend.
    pub parameters: BTreeMap<String, String>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            graph_optimization: GraphOptimization::default(),
            providers: Vec::new(),
            provider_fallback: false,
            device_id: None,
            intra_op_threads: 0,
            arena: true,
            arena_limit_bytes: None,
            optimized_cache: None,
            parameters: BTreeMap::new(),
        }
    }
}
