use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use adulis_backend::BackendError;

/// Where a model's engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// In the server's own process.
    #[default]
    None,
    /// In worker processes.
    Process,
}

/// What is run as a worker. It must call [`crate::run`] and leave its standard input alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl WorkerCommand {
    /// The program that is running, with other arguments. On Linux it is the very file that runs, even if another has taken its
    /// place meanwhile, so that both sides speak the same.
    #[must_use]
    pub fn this_program(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            arguments: arguments.into_iter().collect(),
        }
    }
}

/// How workers are kept. Most fields are keys of `[workers]` in `adulis.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerOptions {
    /// For models that do not say (parameter `isolation`).
    pub isolation: Isolation,
    /// Worker processes of each model that is isolated (parameter `workers`). Its instances are spread over them, and go to
    /// another when theirs dies.
    pub count: usize,
    /// Most bytes of private memory that a worker may have (parameter `worker_memory_bytes`); `None`: no limit.
    pub memory_limit: Option<u64>,
    /// How long a worker may take to start and load its model, and how long a batch waits for that.
    pub start_timeout: Duration,
    /// How often a worker is asked for a sign of life.
    pub ping_interval: Duration,
    /// A worker that gives none for so long is killed.
    pub ping_timeout: Duration,
    /// The delay before a worker that died without having answered, or too often, is started again, the first time; it doubles
    /// each time.
    pub min_delay: Duration,
    /// How long that delay gets at most.
    pub max_delay: Duration,
    /// Deaths in a row, without an answer between them or too many in a short time, after which the model is not ready while it
    /// has no worker.
    pub max_crashes: u32,
    /// Most bytes of a batch's inputs or outputs.
    pub max_transfer_bytes: usize,
    /// How much sooner the kernel kills a worker than the server when memory runs out, from 0 to 1000.
    pub oom_score_adj: u16,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            isolation: Isolation::None,
            count: 1,
            memory_limit: None,
            start_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(10),
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            max_crashes: 5,
            max_transfer_bytes: 1 << 30,
            oom_score_adj: 500,
        }
    }
}

/// Most workers of one model.
const MAX_WORKERS: usize = 256;

/// The parameters of a model's configuration that are for us, and no backend sees.
pub(crate) const ISOLATION: &str = "isolation";
const WORKERS: &str = "workers";
const MEMORY: &str = "worker_memory_bytes";
pub(crate) const PARAMETERS: [&str; 3] = [ISOLATION, WORKERS, MEMORY];

impl WorkerOptions {
    /// The options of a model whose configuration has these parameters.
    ///
    /// # Errors
    /// [`BackendError::Option`] for one that cannot be read.
    pub(crate) fn of_model(
        &self,
        parameters: &std::collections::BTreeMap<String, String>,
    ) -> Result<Self, BackendError> {
        let mut options = self.clone();
        let odd = |name: &str, expected: &str, text: &str| BackendError::Option {
            option: format!("parameters.{name}"),
            reason: format!("expected {expected}, got {text:?}"),
        };
        if let Some(text) = parameters.get(ISOLATION) {
            options.isolation = match text.as_str() {
                "none" => Isolation::None,
                "process" => Isolation::Process,
                _ => return Err(odd(ISOLATION, "none or process", text)),
            };
        }
        if let Some(text) = parameters.get(WORKERS) {
            let count = text.parse().ok().filter(|count| (1..=MAX_WORKERS).contains(count));
            let expected = format!("1 to {MAX_WORKERS}");
            options.count = count.ok_or_else(|| odd(WORKERS, &expected, text))?;
        }
        if let Some(text) = parameters.get(MEMORY) {
            let bytes = text.parse().ok().filter(|bytes| *bytes > 0);
            options.memory_limit = Some(bytes.ok_or_else(|| odd(MEMORY, "a number of bytes", text))?);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parameters: &[(&str, &str)]) -> Result<WorkerOptions, String> {
        let parameters = parameters.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        WorkerOptions::default()
            .of_model(&parameters.collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_model_says_otherwise() {
        let options = of(&[
            ("isolation", "process"),
            ("workers", "3"),
            ("worker_memory_bytes", "1024"),
        ])
        .unwrap();
        assert_eq!(
            (options.isolation, options.count, options.memory_limit),
            (Isolation::Process, 3, Some(1024))
        );
        assert_eq!(of(&[("other", "x")]).unwrap(), WorkerOptions::default());
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_key() {
        for (name, text) in [
            ("isolation", "thread"),
            ("workers", "0"),
            ("workers", "257"),
            ("workers", "two"),
            ("worker_memory_bytes", "0"),
            ("worker_memory_bytes", "1GiB"),
        ] {
            let told = of(&[(name, text)]).unwrap_err();
            assert!(told.contains(&format!("parameters.{name}")) && told.contains(text), "{told}");
        }
    }
}
