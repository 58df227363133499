//! What the logging and trace extensions have in common in both protocols: names and values of settings, and what is asked
//! of the server for them.

use adulis_types::{
    Change, ErrorKind, Failure, Fault, LogLineFormat, LogSettings, LogUpdate, ModelRef, Name, Services,
    TraceLevels, TraceMode, TraceSettings, TraceUpdate,
};

use crate::Problem;
use crate::error::{Parsed, excerpt};

pub(crate) const LOG_FILE: &str = "log_file";
pub(crate) const LOG_INFO: &str = "log_info";
pub(crate) const LOG_WARNING: &str = "log_warning";
pub(crate) const LOG_ERROR: &str = "log_error";
pub(crate) const LOG_VERBOSE_LEVEL: &str = "log_verbose_level";
pub(crate) const LOG_FORMAT: &str = "log_format";
/// What the extension's description calls two of them, and Triton's server does not know.
const LOG_WARNINGS: &str = "log_warnings";
const LOG_ERRORS: &str = "log_errors";

pub(crate) const TRACE_LEVEL: &str = "trace_level";
pub(crate) const TRACE_RATE: &str = "trace_rate";
pub(crate) const TRACE_COUNT: &str = "trace_count";
pub(crate) const LOG_FREQUENCY: &str = "log_frequency";
pub(crate) const TRACE_FILE: &str = "trace_file";
pub(crate) const TRACE_MODE: &str = "trace_mode";

const DEFAULT_FORMAT: &str = "default";
const ISO8601: &str = "ISO8601";
const OFF: &str = "OFF";
const TIMESTAMPS: &str = "TIMESTAMPS";
const TENSORS: &str = "TENSORS";
const TRITON: &str = "triton";
const OPENTELEMETRY: &str = "opentelemetry";

const LOG_NAMES: &str = "log_info, log_warning, log_error, log_verbose_level or log_format";
const TRACE_NAMES: &str = "trace_level, trace_rate, trace_count, log_frequency or trace_mode";
const A_FLAG: &str = "true or false";
const A_LEVEL: &str = "a whole number from 0 to 4294967295";
const A_RATE: &str = "a whole number from 1 to 4294967295";
const A_COUNT: &str = "a whole number from 0 to 2147483647, or -1 for no end";
const LEVELS: &str = "OFF alone, or TIMESTAMPS, TENSORS or both";

/// The most values that one setting has.
pub(crate) const MAX_VALUES: usize = 8;

/// What is wrong with a request to change settings. None of it is done then.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingProblem {
    /// There is no such setting: taking it for granted would leave in force what was meant to be changed.
    #[error("unknown setting '{name}': expected {expected}")]
    Unknown {
        /// The setting.
        name: Name,
        /// Those that there are.
        expected: &'static str,
    },
    /// Clients do not choose files of the server's.
    #[error("setting '{name}' is made where the server is started: it cannot be changed over the network")]
    FromStart {
        /// The setting.
        name: &'static str,
    },
    /// The value is none that the setting takes.
    #[error("setting '{name}': expected {expected}, got {found}")]
    Value {
        /// The setting.
        name: Name,
        /// What it takes.
        expected: &'static str,
        /// What came.
        found: Name,
    },
    /// Traces can go to a file only.
    #[error(
        "setting 'trace_mode': 'opentelemetry' is not supported by this server: traces go to its trace file ('triton')"
    )]
    OpenTelemetry,
}

impl SettingProblem {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            SettingProblem::FromStart { .. } | SettingProblem::OpenTelemetry => ErrorKind::Unsupported,
            SettingProblem::Unknown { .. } | SettingProblem::Value { .. } => ErrorKind::InvalidArgument,
        }
    }
}

/// A setting's value, as either protocol writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// `null`, or none at all.
    Nothing,
    Flag(bool),
    Number(u32),
    /// One text.
    Text(Name),
    /// Any number of texts in a list.
    Texts(Vec<Name>),
    /// What no setting takes, for the message.
    Other(Name),
}

impl Value {
    /// The value as a message has it.
    fn describe(&self) -> Name {
        let quoted = |text: &Name| format!("'{}'", excerpt(text.as_bytes()));
        match self {
            Value::Nothing => "nothing".into(),
            Value::Flag(flag) => flag.to_string().into(),
            Value::Number(number) => number.to_string().into(),
            Value::Text(text) => quoted(text).into(),
            Value::Texts(texts) => {
                format!("[{}]", texts.iter().map(quoted).collect::<Vec<_>>().join(", ")).into()
            }
            Value::Other(text) => text.clone(),
        }
    }

    fn refused(&self, name: &str, expected: &'static str) -> Box<Problem> {
        let name = excerpt(name.as_bytes());
        problem(SettingProblem::Value { name, expected, found: self.describe() })
    }

    /// The single text that it is, in a list or not.
    fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Texts(texts) => match &texts[..] {
                [text] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number, as such or as text.
    fn whole(&self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(i64::from(*number)),
            // `parse` alone would take a leading plus sign.
            _ => self.text().filter(|text| !text.starts_with('+'))?.parse().ok(),
        }
    }
}

fn problem(problem: SettingProblem) -> Box<Problem> {
    Box::new(problem.into())
}

fn unknown(name: &str, expected: &'static str) -> Box<Problem> {
    problem(SettingProblem::Unknown { name: excerpt(name.as_bytes()), expected })
}

/// Puts one setting of the log into a change. Nothing leaves it as it is.
pub(crate) fn set_log(update: &mut LogUpdate, name: &str, value: &Value) -> Parsed<()> {
    let flag = || match value {
        Value::Flag(flag) => Ok(Some(*flag)),
        _ => Err(value.refused(name, A_FLAG)),
    };
    match name {
        _ if *value == Value::Nothing && name.starts_with("log_") => {}
        LOG_FILE => return Err(problem(SettingProblem::FromStart { name: LOG_FILE })),
        LOG_INFO => update.info = flag()?,
        LOG_WARNING | LOG_WARNINGS => update.warning = flag()?,
        LOG_ERROR | LOG_ERRORS => update.error = flag()?,
        LOG_VERBOSE_LEVEL => match value {
            Value::Number(level) => update.verbose_level = Some(*level),
            _ => return Err(value.refused(name, A_LEVEL)),
        },
        LOG_FORMAT => match value {
            Value::Text(text) if text == DEFAULT_FORMAT => update.format = Some(LogLineFormat::Default),
            Value::Text(text) if text == ISO8601 => update.format = Some(LogLineFormat::Iso8601),
            _ => return Err(value.refused(name, "'default' or 'ISO8601'")),
        },
        _ => return Err(unknown(name, LOG_NAMES)),
    }
    Ok(())
}

/// The word of a form of log lines.
pub(crate) fn format_word(format: LogLineFormat) -> &'static str {
    match format {
        LogLineFormat::Default => DEFAULT_FORMAT,
        LogLineFormat::Iso8601 => ISO8601,
    }
}

/// Puts one setting of the traces into a change. Nothing clears it.
pub(crate) fn set_trace(update: &mut TraceUpdate, name: &str, value: &Value) -> Parsed<()> {
    let within = |least: i64, most: i64, expected| match value.whole() {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(value.refused(name, expected)),
    };
    let count = |number: i64| u32::try_from(number).ok();
    let clear = *value == Value::Nothing;
    match name {
        TRACE_FILE => return Err(problem(SettingProblem::FromStart { name: TRACE_FILE })),
        TRACE_LEVEL if clear => update.levels = Change::Clear,
        TRACE_RATE if clear => update.rate = Change::Clear,
        TRACE_COUNT if clear => update.count = Change::Clear,
        LOG_FREQUENCY if clear => update.log_frequency = Change::Clear,
        TRACE_LEVEL => update.levels = Change::Set(levels(value)?),
        TRACE_RATE => {
            update.rate = Change::Set(count(within(1, i64::from(u32::MAX), A_RATE)?).unwrap_or(u32::MAX));
        }
        TRACE_COUNT => update.count = Change::Set(count(within(-1, i64::from(i32::MAX), A_COUNT)?)),
        LOG_FREQUENCY => {
            let number = within(0, i64::from(u32::MAX), A_LEVEL)?;
            update.log_frequency = Change::Set(count(number).unwrap_or(u32::MAX));
        }
        TRACE_MODE => match value.text() {
            Some(TRITON) => {}
            Some(OPENTELEMETRY) => return Err(problem(SettingProblem::OpenTelemetry)),
            _ if clear => {}
            _ => return Err(value.refused(name, "'triton'")),
        },
        _ => return Err(unknown(name, TRACE_NAMES)),
    }
    Ok(())
}

fn levels(value: &Value) -> Parsed<TraceLevels> {
    let words = match value {
        Value::Text(word) => std::slice::from_ref(word),
        Value::Texts(words) => &words[..],
        _ => &[],
    };
    let mut levels = TraceLevels::OFF;
    for word in words {
        match word.as_str() {
            TIMESTAMPS => levels.timestamps = true,
            TENSORS => levels.tensors = true,
            OFF if words.len() == 1 => {}
            _ => return Err(value.refused(TRACE_LEVEL, LEVELS)),
        }
    }
    if words.is_empty() {
        Err(value.refused(TRACE_LEVEL, LEVELS))
    } else {
        Ok(levels)
    }
}

/// The words of trace levels.
pub(crate) fn level_words(levels: TraceLevels) -> Vec<&'static str> {
    if levels == TraceLevels::OFF {
        return vec![OFF];
    }
    let words = [(levels.timestamps, TIMESTAMPS), (levels.tensors, TENSORS)];
    words.into_iter().filter(|(is_on, _)| *is_on).map(|(_, word)| word).collect()
}

/// A number of traces as text.
pub(crate) fn count_text(count: Option<u32>) -> String {
    count.map_or_else(|| "-1".to_owned(), |count| count.to_string())
}

/// The word of a mode of tracing.
pub(crate) fn mode_word(mode: TraceMode) -> &'static str {
    match mode {
        TraceMode::Triton => TRITON,
        TraceMode::OpenTelemetry => OPENTELEMETRY,
    }
}

/// What the log shows.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where the log is not the server's own to change.
pub fn log_settings(services: &Services) -> Result<LogSettings, Fault> {
    match &services.log {
        Some(log) => Ok(log.log_settings()),
        None => Err(unsupported("the logging extension")),
    }
}

/// Changes what the log shows, and says what holds then.
///
/// # Errors
/// As [`log_settings`], and the log's own.
pub fn update_log_settings(services: &Services, update: &LogUpdate) -> Result<LogSettings, Fault> {
    match &services.log {
        Some(log) => log.update_log_settings(update),
        None => Err(unsupported("the logging extension")),
    }
}

/// What is traced: of the server, or of a model where `model` is not empty.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where nothing can be traced, [`ErrorKind::NotFound`] for an unknown model.
pub fn trace_settings(services: &Services, model: &str) -> Result<TraceSettings, Fault> {
    let Some(trace) = &services.trace else {
        return Err(unsupported("the trace extension"));
    };
    Ok(trace.trace_settings(known(services, model)?))
}

/// Changes what is traced, and says what holds then.
///
/// # Errors
/// As [`trace_settings`], and [`ErrorKind::InvalidArgument`] for settings that do not go together.
pub fn update_trace_settings(
    services: &Services,
    model: &str,
    update: &TraceUpdate,
) -> Result<TraceSettings, Fault> {
    let Some(trace) = &services.trace else {
        return Err(unsupported("the trace extension"));
    };
    trace.update_trace_settings(known(services, model)?, update)
}

/// The model, if it is one: settings for names that nobody has would pile up.
fn known<'a>(services: &Services, model: &'a str) -> Result<Option<&'a str>, Fault> {
    if model.is_empty() {
        return Ok(None);
    }
    services.inference.model_ready(&ModelRef::latest(model))?;
    Ok(Some(model))
}

fn unsupported(what: &str) -> Fault {
    Failure::new(ErrorKind::Unsupported, format!("{what} is not supported by this server")).into()
}
