//! The engine's own log, as lines of ours with the target `onnxruntime`.

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ort::sys::{self, OrtLoggingLevel as Severity};
use tracing::Level;

/// The level at which a message of the engine is logged: its warnings are remarks about how a model was exported, of
/// which an odd model has hundreds, and nothing that an operator could act on.
fn level_of(severity: Severity) -> Level {
    match severity {
        Severity::ORT_LOGGING_LEVEL_FATAL => Level::ERROR,
        Severity::ORT_LOGGING_LEVEL_ERROR => Level::WARN,
        Severity::ORT_LOGGING_LEVEL_WARNING => Level::DEBUG,
        _ => Level::TRACE,
    }
}

/// The least severe messages that somebody listens to. Asked once for an environment, once for each instance's runs: the
/// engine formats every message that it is asked for.
fn least_severe(listens: impl Fn(Level) -> bool) -> Severity {
    let ascending = [
        Severity::ORT_LOGGING_LEVEL_VERBOSE,
        Severity::ORT_LOGGING_LEVEL_WARNING,
        Severity::ORT_LOGGING_LEVEL_ERROR,
    ];
    let wanted = ascending.into_iter().find(|&severity| listens(level_of(severity)));
    wanted.unwrap_or(Severity::ORT_LOGGING_LEVEL_FATAL)
}

fn listens(level: Level) -> bool {
    match level {
        Level::TRACE => tracing::enabled!(target: "onnxruntime", Level::TRACE),
        Level::DEBUG => tracing::enabled!(target: "onnxruntime", Level::DEBUG),
        _ => tracing::enabled!(target: "onnxruntime", Level::WARN),
    }
}

/// The least severe messages of the environment and its sessions.
pub(crate) fn level() -> Severity {
    least_severe(listens)
}

/// The least severe messages of a run.
///
/// Requests decide what a run has to say (an output of another shape than declared, say), and must not fill the log: its
/// warnings are left out. An error comes back as the run's status and is logged once, with the model and the request; the
/// engine's own line, which names the node, is for who listens at level `debug`.
pub(crate) fn run_level() -> Severity {
    if listens(Level::DEBUG) {
        Severity::ORT_LOGGING_LEVEL_ERROR
    } else {
        Severity::ORT_LOGGING_LEVEL_FATAL
    }
}

/// The engine's logger.
pub(crate) unsafe extern "system" fn write(
    _parameter: *mut c_void,
    severity: sys::OrtLoggingLevel,
    _category: *const c_char,
    id: *const c_char,
    location: *const c_char,
    message: *const c_char,
) {
    let text = |text: *const c_char| {
        // SAFETY: the engine passes null or C strings that live over this call.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
    };
    // A subscriber that panics must not unwind into C.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let message = text(message).unwrap_or_default();
        let (id, location) = (text(id).unwrap_or_default(), text(location).unwrap_or_default());
        match level_of(severity) {
            Level::ERROR => tracing::error!(target: "onnxruntime", %id, %location, "{message}"),
            Level::WARN => tracing::warn!(target: "onnxruntime", %id, %location, "{message}"),
            Level::DEBUG => tracing::debug!(target: "onnxruntime", %id, %location, "{message}"),
            _ => tracing::trace!(target: "onnxruntime", %id, %location, "{message}"),
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(level: Level) -> Severity {
        least_severe(|asked| asked <= level)
    }

    #[test]
    fn its_warnings_are_told_to_who_debugs_and_its_errors_to_everybody() {
        assert_eq!(level_of(Severity::ORT_LOGGING_LEVEL_WARNING), Level::DEBUG);
        assert_eq!(level_of(Severity::ORT_LOGGING_LEVEL_ERROR), Level::WARN);
        assert_eq!(level_of(Severity::ORT_LOGGING_LEVEL_FATAL), Level::ERROR);
    }

    #[test]
    fn the_engine_is_asked_for_what_somebody_listens_to_only() {
        assert_eq!(at(Level::ERROR), Severity::ORT_LOGGING_LEVEL_FATAL);
        assert_eq!(at(Level::WARN), Severity::ORT_LOGGING_LEVEL_ERROR);
        assert_eq!(at(Level::INFO), Severity::ORT_LOGGING_LEVEL_ERROR);
        assert_eq!(at(Level::DEBUG), Severity::ORT_LOGGING_LEVEL_WARNING);
        assert_eq!(at(Level::TRACE), Severity::ORT_LOGGING_LEVEL_VERBOSE);
    }
}
