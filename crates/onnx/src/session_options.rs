use std::path::Path;
use std::ptr::{self, NonNull};

use adulis_backend::{BackendError, EngineOptions, GraphOptimization};
use ort::sys;
use ort::sys::GraphOptimizationLevel as Level;

use crate::api::{OrtError, api, call, filled};
use crate::environment::{Environment, c_text, count};
use crate::session::os_path;

/// Prefixes of model parameters that are handed to the session's configuration as they are. Which of them may come with a request
/// is for `adulis_repository` to say.
const PASSED_ON: [&str; 3] = ["session.", "optimization.", "ep."];

/// Models smaller than this run each operator on the thread that calls: waking a second one costs more than it saves.
/// Measured on two cores with a perceptron of 0.6 MB, one row: 0.17 ms a run on the shared pool, 0.012 ms on one thread.
const SMALL_MODEL_BYTES: u64 = 4 << 20;

/// Options for making a session.
#[derive(Debug)]
pub(crate) struct SessionOptions(NonNull<sys::OrtSessionOptions>);

/// The session settings of one model, read from its engine options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) level: GraphOptimization,
    /// 0 shares the environment's pool.
    pub(crate) intra_op_threads: usize,
    /// Threads that run independent branches of the graph; 0 runs one operator at a time.
    inter_op_threads: usize,
    arena: bool,
    memory_pattern: bool,
    config: Vec<(String, String)>,
}

impl Settings {
    /// Reads `options`, Triton's parameter names included.
    ///
    /// # Errors
    /// [`BackendError::Option`] for a parameter of this backend whose value makes no sense.
    pub(crate) fn read(options: &EngineOptions) -> Result<Self, BackendError> {
        let number = |key: &str| parameter(options, key, |text| text.parse::<usize>().ok());
        let flag = |key: &str| {
            parameter(options, key, |text| match text {
                "1" | "true" => Some(true),
                "0" | "false" => Some(false),
                _ => None,
            })
        };
        let parallel = flag("execution_mode")?.unwrap_or(false);
        let inter_op = number("inter_op_thread_count")?.unwrap_or(0);
        Ok(Self {
            level: options.graph_optimization,
            intra_op_threads: number("intra_op_thread_count")?.unwrap_or(options.intra_op_threads),
            inter_op_threads: if parallel { inter_op.max(2) } else { 0 },
            arena: flag("enable_mem_arena")?.unwrap_or(options.arena),
            memory_pattern: flag("enable_mem_pattern")?.unwrap_or(false),
            config: options
                .parameters
                .iter()
                .filter(|(key, _)| PASSED_ON.iter().any(|prefix| key.starts_with(prefix)))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        })
    }

    /// The same settings for a model file of `bytes`: one whose threads nobody has set runs on one thread if it is small.
    pub(crate) fn for_model(mut self, bytes: u64) -> Self {
        if self.intra_op_threads == 0 && self.inter_op_threads == 0 && bytes < SMALL_MODEL_BYTES {
            self.intra_op_threads = 1;
        }
        self
    }

    /// What of the settings an optimised model depends on, besides the level.
    pub(crate) fn graph_key(&self) -> String {
        format!("{:?} {:?}", self.level, self.config)
    }
}

fn parameter<T>(
    options: &EngineOptions,
    key: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, BackendError> {
    let Some(text) = options.parameters.get(key) else {
        return Ok(None);
    };
    read(text).map(Some).ok_or_else(|| BackendError::Option {
        option: format!("parameters.{key}"),
        reason: format!("{text:?} is not a value it can have"),
    })
}

impl SessionOptions {
    /// Options for `settings`; no execution provider is added yet.
    pub(crate) fn new(environment: &Environment, settings: &Settings) -> Result<Self, OrtError> {
        let mut options = ptr::null_mut();
        // SAFETY: the place is written on success.
        unsafe { call!(CreateSessionOptions(&raw mut options)) }?;
        let options = Self(filled(options, "session options")?);
        options.set_level(settings.level)?;
        options.set_threads(settings)?;
        options.set_memory(environment, settings)?;
        for (key, value) in &settings.config {
            options.set(key, value)?;
        }
        Ok(options)
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::OrtSessionOptions {
        self.0.as_ptr()
    }

    /// Sets one entry of the session's configuration.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), OrtError> {
        let (key, value) = (c_text(key)?, c_text(value)?);
        // SAFETY: options are live, both texts live over the call.
        unsafe { call!(AddSessionConfigEntry(self.as_ptr(), key.as_ptr(), value.as_ptr())) }
    }

    pub(crate) fn set_level(&self, level: GraphOptimization) -> Result<(), OrtError> {
        let level = match level {
            GraphOptimization::Disabled => Level::ORT_DISABLE_ALL,
            GraphOptimization::Basic => Level::ORT_ENABLE_BASIC,
            GraphOptimization::Extended => Level::ORT_ENABLE_EXTENDED,
            GraphOptimization::All => Level::ORT_ENABLE_ALL,
        };
        // SAFETY: options are live.
        unsafe { call!(SetSessionGraphOptimizationLevel(self.as_ptr(), level)) }
    }

    /// Has the session write its optimised graph to `path`.
    pub(crate) fn save_optimized(&self, path: &Path) -> Result<(), OrtError> {
        let path = os_path(path)?;
        // SAFETY: options are live, the path lives over the call and is copied.
        unsafe { call!(SetOptimizedModelFilePath(self.as_ptr(), path.as_ptr())) }
    }

    fn set_threads(&self, settings: &Settings) -> Result<(), OrtError> {
        let options = self.as_ptr();
        let own_pool = settings.intra_op_threads > 0 || settings.inter_op_threads > 0;
        // SAFETY: options are live.
        unsafe {
            if own_pool {
                call!(SetIntraOpNumThreads(options, count(settings.intra_op_threads)))?;
                call!(SetInterOpNumThreads(options, count(settings.inter_op_threads.max(1))))?;
            } else {
                call!(DisablePerSessionThreads(options))?;
            }
            if settings.inter_op_threads > 0 {
                call!(SetSessionExecutionMode(options, sys::ExecutionMode::ORT_PARALLEL))?;
            }
        }
        if own_pool {
            self.set("session.intra_op.allow_spinning", "0")?;
            self.set("session.inter_op.allow_spinning", "0")?;
        }
        Ok(())
    }

    fn set_memory(&self, environment: &Environment, settings: &Settings) -> Result<(), OrtError> {
        // A memory plan is kept for each combination of input shapes ever seen, without a bound: off unless asked for.
        if !settings.memory_pattern {
            // SAFETY: options are live.
            unsafe { call!(DisableMemPattern(self.as_ptr())) }?;
        }
        match (settings.arena, environment.shared_arena) {
            (true, true) => self.set("session.use_env_allocators", "1"),
            (true, false) => Ok(()),
            // SAFETY: options are live.
            (false, _) => unsafe { call!(DisableCpuMemArena(self.as_ptr())) },
        }
    }
}

impl Drop for SessionOptions {
    fn drop(&mut self) {
        // SAFETY: owned, so released once; sessions made with it have copied what they need.
        unsafe { (api().ReleaseSessionOptions)(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(parameters: &[(&str, &str)]) -> EngineOptions {
        EngineOptions {
            parameters: parameters.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..EngineOptions::default()
        }
    }

    #[test]
    fn parameters_of_triton_are_read() {
        let settings = Settings::read(&options(&[
            ("intra_op_thread_count", "3"),
            ("enable_mem_arena", "0"),
            ("session.set_denormal_as_zero", "1"),
            ("somebody_elses", "x"),
        ]))
        .unwrap();
        assert_eq!((settings.intra_op_threads, settings.arena), (3, false));
        assert_eq!(settings.config, [("session.set_denormal_as_zero".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn small_models_run_on_one_thread_unless_told_otherwise() {
        let unset = Settings::read(&options(&[])).unwrap();
        assert_eq!(unset.clone().for_model(SMALL_MODEL_BYTES - 1).intra_op_threads, 1);
        assert_eq!(unset.for_model(SMALL_MODEL_BYTES).intra_op_threads, 0);
        let set = Settings::read(&options(&[("intra_op_thread_count", "3")])).unwrap();
        assert_eq!(set.for_model(1).intra_op_threads, 3);
    }

    #[test]
    fn nonsense_is_refused_by_its_key() {
        let error = Settings::read(&options(&[("intra_op_thread_count", "many")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "engine option parameters.intra_op_thread_count: \"many\" is not a value it can have"
        );
    }
}
