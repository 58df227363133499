use std::time::Duration;

use adulis_backend::EngineOptions;

/// What the engine can be told. Each field is a key of `[engine]` in `adulis.toml`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Execution threads of the CPU device; 0 takes one per core that this process may use.
    pub execution_threads: usize,
    /// Models loaded at a time; 0 takes one per core.
    pub load_threads: usize,
    /// A request that nobody else competes with, and whose run is known to take less than this, runs on the I/O thread,
    /// without a hand-over; zero never does. `None` takes the time of a hand-over, measured at start.
    pub inline_threshold: Option<Duration>,
    /// Batch limit in rows for a model that can batch and whose configuration does not say.
    pub default_max_batch_size: usize,
    /// Rows that may wait per model before requests are refused; 0 sets no bound.
    pub max_queued_rows: usize,
    /// Whether one model that failed to load makes the server not ready.
    pub strict_readiness: bool,
    /// Backends to try, in order, for models that name none.
    pub backend_order: Vec<String>,
    /// Engine options that models start from.
    pub engine: EngineOptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            execution_threads: 0,
            load_threads: 0,
            inline_threshold: None,
            default_max_batch_size: 64,
            max_queued_rows: 16_384,
            strict_readiness: true,
            backend_order: vec!["onnxruntime".to_owned(), "tract".to_owned()],
            engine: EngineOptions::default(),
        }
    }
}

/// Cores that this process may use, cgroup limits and affinity included; `wanted` if it is not 0.
pub(crate) fn or_cores(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        wanted => wanted,
    }
}
