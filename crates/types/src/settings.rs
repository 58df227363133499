//! What clients may ask and change of the server itself while it runs: its log and its traces.

use std::sync::Arc;

use crate::{Fault, Trace};

/// What the log shows.
///
/// Source: Triton's logging extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The file it is written to; empty for standard error. Set where the server is started, never by clients.
    pub file: Arc<str>,
    /// Whether lines of level `info` are shown.
    pub info: bool,
    /// Whether warnings are shown.
    pub warning: bool,
    /// Whether errors are shown.
    pub error: bool,
    /// How much of the rest is shown: 0 nothing, 1 debug lines, 2 and more everything.
    pub verbose_level: u32,
    /// How lines look.
    pub format: LogLineFormat,
}

/// How log lines look, in Triton's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLineFormat {
    /// As the server was started: `default`.
    #[default]
    Default,
    /// Text that begins with the time by ISO 8601: `ISO8601`.
    Iso8601,
}

/// A change of [`LogSettings`]; `None` leaves a setting as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogUpdate {
    /// For [`LogSettings::info`].
    pub info: Option<bool>,
    /// For [`LogSettings::warning`].
    pub warning: Option<bool>,
    /// For [`LogSettings::error`].
    pub error: Option<bool>,
    /// For [`LogSettings::verbose_level`].
    pub verbose_level: Option<u32>,
    /// For [`LogSettings::format`].
    pub format: Option<LogLineFormat>,
}

/// A log whose settings clients may see and change.
pub trait LogControl: Send + Sync + 'static {
    /// What is in effect.
    fn log_settings(&self) -> LogSettings;

    /// Changes settings, all or none, and says what is in effect then.
    ///
    /// # Errors
    /// A [`Fault`] where the log cannot be changed.
    fn update_log_settings(&self, update: &LogUpdate) -> Result<LogSettings, Fault>;
}

/// What is traced, for the server or for one model.
///
/// Source: Triton's trace extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// What a trace holds; [`TraceLevels::OFF`] for no traces.
    pub levels: TraceLevels,
    /// One request in so many is traced.
    pub rate: u32,
    /// How many more requests are traced; `None` for no end, which is -1 in the protocol.
    pub count: Option<u32>,
    /// A file is closed after so many traces, and the next one gets a number; 0 keeps to one file.
    pub log_frequency: u32,
    /// The file that traces are written to; empty if there is none. Set where the server is started, never by clients.
    pub file: Arc<str>,
    /// Where traces go.
    pub mode: TraceMode,
}

/// What a trace holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceLevels {
    /// `TIMESTAMPS`: when each stage began.
    pub timestamps: bool,
    /// `TENSORS`: what went in and came out.
    pub tensors: bool,
}

impl TraceLevels {
    /// `OFF`: nothing is traced.
    pub const OFF: TraceLevels = TraceLevels { timestamps: false, tensors: false };
}

/// Where traces go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceMode {
    /// To a file in Triton's JSON form.
    #[default]
    Triton,
    /// To a collector.
    OpenTelemetry,
}

/// What happens to one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// It stays.
    #[default]
    Keep,
    /// It falls back: a model's to the server's, the server's to what it was at the start.
    Clear,
    /// It becomes this.
    Set(T),
}

/// A change of [`TraceSettings`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceUpdate {
    /// For [`TraceSettings::levels`].
    pub levels: Change<TraceLevels>,
    /// For [`TraceSettings::rate`].
    pub rate: Change<u32>,
    /// For [`TraceSettings::count`].
    pub count: Change<Option<u32>>,
    /// For [`TraceSettings::log_frequency`].
    pub log_frequency: Change<u32>,
}

/// Traces whose settings clients may see and change.
pub trait TraceControl: Send + Sync + 'static {
    /// What is in effect, for the server or for `model`, where that has settings of its own.
    fn trace_settings(&self, model: Option<&str>) -> TraceSettings;

    /// Changes settings of the server or of `model`, all or none, and says what is in effect then.
    ///
    /// # Errors
    /// A [`Fault`] for a value that is not supported.
    fn update_trace_settings(
        &self,
        model: Option<&str>,
        update: &TraceUpdate,
    ) -> Result<TraceSettings, Fault>;

    /// Whether any request may be chosen. Costs one relaxed atomic read.
    fn is_tracing(&self) -> bool {
        false
    }

    /// The trace of a request for `model`, if its turn has come.
    fn sample(&self, model: &str) -> Option<Trace> {
        let _ = model;
        None
    }
}
