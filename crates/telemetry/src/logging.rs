use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line of text each, for people.
    Text,
    /// One JSON object each, for machines.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Format of the lines.
    pub format: LogFormat,
    /// Level or directives, as `info` or `info,adulis_engine=debug`.
    pub filter: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The directives are not understood.
    #[error("log filter {filter:?} is not understood: {reason}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else in this process has set up logging already.
    #[error("logging is set up already")]
    AlreadySet,
}

/// Sets up the process's log: to standard error, with the fields of the spans a line was written in, the request id
/// among them.
///
/// # Errors
/// [`LoggingError`] if the filter cannot be read or the log has been set up before.
pub fn init_logging(options: &LogOptions) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(&options.filter).map_err(|error| LoggingError::Filter {
        filter: options.filter.clone(),
        reason: error.to_string(),
    })?;
    let terminal = std::io::stderr().is_terminal();
    let json = match options.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_writer(std::io::stderr);
    let set = if json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        lines.with_ansi(terminal).try_init()
    };
    set.map_err(|_| LoggingError::AlreadySet)
}
