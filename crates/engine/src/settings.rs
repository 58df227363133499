use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adulis_backend::EngineOptions;
use adulis_cache::{CacheSettings, GuardedTier};
use adulis_repository::{Repositories, Scan};
use adulis_types::AuditLog;

use crate::{ControlMode, RateLimit, StartModels};

/// What the engine can be told. Most fields are keys of `[engine]` in `adulis.toml`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the server calls itself in its metadata.
    pub server_name: String,
    /// Where models come from.
    pub repositories: Repositories,
    /// Who says which of them are loaded.
    pub control: ControlMode,
    /// Execution threads of the CPU device; 0 takes one per core that this process may use.
    pub execution_threads: usize,
    /// Models loaded at a time; 0 takes one per core.
    pub load_threads: usize,
    /// A request that nobody else competes with, and whose run is known to take less than this, runs on the I/O thread,
    /// without a hand-over; zero never does.
    pub inline_threshold: Duration,
    /// Batch limit in rows for a model that can batch and whose configuration does not say.
    pub default_max_batch_size: usize,
    /// Whether instances wait for the resources that their configuration says they need.
    pub rate_limit: RateLimit,
    /// Rows that may wait per model before requests are refused; 0 sets no bound.
    pub max_queued_rows: usize,
    /// Whether requests are admitted by what they will cost.
    pub admission: Admission,
    /// The longest wait in the queue that a request is admitted for, where its model does not say; `None`: any.
    pub max_queue_time: Option<Duration>,
    /// How long a run may take, where its model does not say; `None`: any time.
    pub max_execution_time: Option<Duration>,
    /// Threads that may be stuck in runs that were written off, each with another in its place.
    pub max_stuck_threads: usize,
    /// How long the requests of a model that is unloaded have to end; after that, those that wait are refused.
    pub unload_timeout: Duration,
    /// Most bytes of files that came with requests to load a model, of all models that are loaded from such files.
    pub max_override_bytes: usize,
    /// The response cache: how much it holds, for how long, and of which models.
    pub cache: CacheSettings,
    /// The tier behind it that replicas share, if there is one.
    pub shared_cache: Option<GuardedTier>,
    /// Whether one model that failed to load makes the server not ready.
    pub strict_readiness: bool,
    /// Whether Triton's names for the metrics of models are told beside our own.
    pub triton_metric_names: bool,
    /// Backends to try, in order, for models that name none.
    pub backend_order: Vec<String>,
    /// Engine options that models start from.
    pub engine: EngineOptions,
    /// Where it is noted that a watched repository has changed what is loaded; what clients ask for is noted elsewhere.
    pub audit: Option<Arc<dyn AuditLog>>,
}

/// Whether requests are admitted by what they will cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// A request that can't be answered before its deadline is refused at once, and one whose deadline can't be met any more
    /// when its turn comes is not run.
    #[default]
    Cost,
    /// Every request for which there is room waits for its turn, or until its deadline has passed.
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server_name: "adulis".to_owned(),
            repositories: Repositories::default(),
            control: ControlMode::default(),
            execution_threads: 0,
            load_threads: 0,
            inline_threshold: Duration::from_micros(40),
            default_max_batch_size: 64,
            rate_limit: RateLimit::Off,
            max_queued_rows: 16_384,
            admission: Admission::default(),
            max_queue_time: None,
            max_execution_time: None,
            max_stuck_threads: 16,
            unload_timeout: Duration::from_secs(60),
            max_override_bytes: 1 << 30,
            cache: CacheSettings::default(),
            shared_cache: None,
            strict_readiness: true,
            triton_metric_names: true,
            backend_order: vec!["onnxruntime".to_owned(), "tract".to_owned()],
            engine: EngineOptions::default(),
            audit: None,
        }
    }
}

impl Settings {
    /// Looks for the models that are loaded at start. What others there are is told too, as far as they are on this machine
    /// already.
    #[must_use]
    pub fn scan(&self) -> Scan {
        match &self.control {
            ControlMode::Explicit(StartModels::Named(names)) if self.repositories.has_remote() => {
                self.scan_named(names.iter().cloned().collect())
            }
            _ => self.repositories.scan(),
        }
    }

    /// Looks for models of these names, and for those that they are ensembles of.
    fn scan_named(&self, mut names: BTreeSet<String>) -> Scan {
        loop {
            let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
            let scan = self.repositories.scan_named(&wanted);
            let ensembles = scan.models.iter().filter_map(|entry| entry.config.scheduling.ensemble());
            let parts = ensembles.flat_map(|ensemble| &ensemble.steps).map(|step| step.model_name.clone());
            let before = names.len();
            names.extend(parts);
            if names.len() == before {
                return scan;
            }
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
