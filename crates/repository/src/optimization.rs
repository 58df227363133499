use std::collections::BTreeMap;

/// What the engine may do to make a model faster. `None` leaves it to the server's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Optimization {
    /// How hard the engine works on the graph.
    pub graph_level: Option<GraphLevel>,
    /// Execution accelerators for instances on a GPU, first choice first.
    pub gpu_accelerators: Vec<Accelerator>,
    /// Execution accelerators for instances on the CPU, first choice first.
    pub cpu_accelerators: Vec<Accelerator>,
    /// Whether an accelerator that cannot run here is skipped with a warning instead of failing the load.
    pub provider_fallback: Option<bool>,
    /// Threads within one operator; 0 shares the process-wide pool.
    pub intra_op_threads: Option<usize>,
    /// Whether the optimised model is kept on disk for the next start. The folder is the server's to set.
    pub optimized_cache: Option<bool>,
    /// Whether the engine's CPU memory arena is used.
    pub arena: Option<bool>,
    /// Upper limit of the device memory arena in bytes.
    pub arena_limit_bytes: Option<u64>,
    /// Rows that batches are padded to, ascending; empty: batches are run as they are.
    pub batch_sizes: Option<Vec<usize>>,
}

/// How hard the engine works on the graph before the first run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphLevel {
    /// Not at all.
    Disabled,
    /// Constant folding and redundant nodes.
    Basic,
    /// Fusions too.
    Extended,
    /// Layouts too.
    All,
}

/// An execution accelerator (ONNX Runtime: execution provider) with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accelerator {
    /// Its name, lower-case: `tensorrt`, `cuda`, `openvino` …
    pub name: String,
    /// Its options, as its documentation names them.
    pub parameters: BTreeMap<String, String>,
}
