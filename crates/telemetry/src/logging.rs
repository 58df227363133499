mod control;
mod levels;
mod lines;

use std::io::{self, IsTerminal};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_core::{Dispatch, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

pub use control::Log;
use control::{HideLevels, InForm, Switches};
use levels::Levels;
use lines::Lines;

use crate::MetricRegistry;

/// Target of the lines that tell who changed what. Clients who may change the log's levels cannot hide these: else the first that
/// they would hide is that they did.
pub const AUDIT_TARGET: &str = "adulis::audit";

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

impl LogFormat {
    /// As configurations write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
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
    /// There can be no thread that writes it.
    #[error("no thread can be started that writes the log")]
    Thread(#[source] io::Error),
}

/// The process's log, once it is set up.
static LINES: OnceLock<Lines> = OnceLock::new();

static LOST: LazyLock<Counter> = LazyLock::new(Counter::default);

/// How long the end of the process waits for lines that nobody takes.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Sets up the process's log: to standard error, with the fields of the spans a line was written in, the request id
/// among them. What it returns changes the log's levels while the process runs.
///
/// A thread of its own writes the lines, so that nobody who logs waits for whoever reads them. What comes faster than it can be
/// written is lost, beyond 4 MiB; before the process ends, [`flush_log`] is to be called.
///
/// # Errors
/// [`LoggingError`] if the filter cannot be read, the log has been set up before, or there can be no thread.
pub fn init_logging(options: &LogOptions) -> Result<Arc<Log>, LoggingError> {
    let terminal = io::stderr().is_terminal();
    let json = match options.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = Lines::start(io::stderr(), LOST.clone()).map_err(LoggingError::Thread)?;
    let (subscriber, log) = build(&options.filter, Form { json, ansi: terminal }, lines.clone())?;
    tracing_core::dispatcher::set_global_default(subscriber).map_err(|_| LoggingError::AlreadySet)?;
    LINES.get_or_init(|| lines);
    Ok(Arc::new(log))
}

/// Waits until the lines that were logged so far are written, for a second at most. Does nothing where no log was set up.
pub fn flush_log() {
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_LINES);
    }
}

/// Has the lines counted that the process's log has lost.
pub fn register_log(registry: &MetricRegistry) {
    let help = "Lines of the log that were lost because they could not be written, or not fast enough";
    registry.register("adulis_log_lines_dropped", help, LOST.clone());
}

/// How lines look at the start.
#[derive(Debug, Clone, Copy)]
struct Form {
    json: bool,
    ansi: bool,
}

fn build<W>(directives: &str, form: Form, writer: W) -> Result<(Dispatch, Log), LoggingError>
where
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| LoggingError::Filter { filter: directives.to_owned(), reason: error.to_string() })?;
    let (filter, handle) = reload::Layer::new(filter);
    let switches = Switches::default();
    let log = Log::new(Levels::of(directives), handle, switches.clone());
    let base = Registry::default().with(filter).with(HideLevels(switches.clone()));
    // Text begins with the time by ISO 8601 as it is: only JSON has another form to change to.
    let dispatch = if form.json {
        let lines = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        let lines = lines.with_timer(SystemTime).with_writer(writer.clone());
        let as_started = InForm { switches: switches.clone(), iso8601: false };
        let text = text(form, writer).with_filter(InForm { switches, iso8601: true });
        Dispatch::new(base.with(lines.with_filter(as_started)).with(text))
    } else {
        Dispatch::new(base.with(text(form, writer)))
    };
    Ok((dispatch, log))
}

fn text<S, W>(form: Form, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().with_timer(SystemTime).with_ansi(form.ansi).with_writer(writer)
}

#[cfg(test)]
mod tests;
