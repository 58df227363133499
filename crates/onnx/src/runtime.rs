use std::env;
use std::path::PathBuf;
use std::sync::{Arc, Once};

use adulis_backend::{Backend, BackendError, LoadRequest, Model};

use crate::environment::environment;
use crate::model::OnnxModel;
use crate::provider;

/// The name that configurations use.
pub(crate) const NAME: &str = "onnxruntime";
/// Stops the telemetry that some builds of the library send by default.
const TELEMETRY_VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// How the library is found and how its shared thread pool is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnnxRuntimeOptions {
    /// The library file; `None` searches for it.
    pub library: Option<PathBuf>,
    /// Threads of the pool that runs the parts of one operator, the calling thread among them; 0 means one for each
    /// core that the process may use (affinity and cgroup quota counted in).
    pub intra_op_threads: usize,
    /// Threads of the pool that runs independent branches of a graph; only models that ask for parallel execution use
    /// it. 0 and 1 both mean none beside the caller.
    pub inter_op_threads: usize,
    /// Whether threads of the pool spin for a while when they have nothing to do: lower latency, at the cost of cores
    /// that are busy while the server is idle.
    pub spinning: bool,
}

/// ONNX Runtime as a backend.
///
/// The library is loaded on the first model or the first question whether it is available, and searched for in this
/// order: [`OnnxRuntimeOptions::library`]; environment `ADULIS_ONNXRUNTIME_LIBRARY`; `lib/` beside the executable and
/// the executable's own folder; the cache folder (`ADULIS_CACHE_DIR`, else `XDG_CACHE_HOME/adulis`, else
/// `~/.cache/adulis`) at `onnxruntime/1.28.0/`; the system's loader. One that is named by option or environment is used
/// or nothing is.
///
/// A process has one environment of the engine, made with the options of the first runtime that loads something.
#[derive(Debug)]
pub struct OnnxRuntime {
    options: OnnxRuntimeOptions,
}

impl OnnxRuntime {
    /// A backend with these options. Loads nothing yet.
    ///
    /// Make it early, before the process has many threads: the first call sets `ORT_DISABLE_TELEMETRY=1` in the
    /// process's environment if it is not set, and C code that reads the environment at that very moment on another
    /// thread would race with it. Set the variable before the start to have nothing written.
    #[must_use]
    pub fn new(options: OnnxRuntimeOptions) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            if env::var_os(TELEMETRY_VARIABLE).is_none() {
                // SAFETY: Rust's own readers of the environment are locked out. The C readers that could race are
                // resolvers and time zones on other threads; this runs once, as the doc asks before they start, and
                // adds one variable, which leaves every string that a reader may hold in its place.
                unsafe { env::set_var(TELEMETRY_VARIABLE, "1") };
            }
        });
        Self { options }
    }

    /// The library's version, such as `1.28.0`. Loads it if need be.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] if there is none.
    pub fn version(&self) -> Result<&'static str, BackendError> {
        environment(&self.options).map(|environment| environment.version.as_str())
    }

    /// The execution providers that the library was built with, by their own names. Being in the list does not mean that
    /// one can run on this machine: only loading a model with it shows that.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] if there is no library.
    pub fn execution_providers(&self) -> Result<Vec<String>, BackendError> {
        environment(&self.options)?;
        provider::built_in()
            .map_err(|error| BackendError::Unavailable { backend: NAME, reason: error.to_string() })
    }
}

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn platform(&self) -> &'static str {
        "onnxruntime_onnx"
    }

    fn available(&self) -> Result<(), BackendError> {
        environment(&self.options).map(|_| ())
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let environment = environment(&self.options)?;
        Ok(Arc::new(OnnxModel::load(environment, request)?))
    }
}
