use std::io::Write;

use adulis_types::{LogControl, LogLineFormat, LogUpdate};
use parking_lot::Mutex;

use super::*;

/// Keeps what is written.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Kept {
    /// What was written since the last look.
    fn taken(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
    }
}

/// One line of every level, from two places.
fn speak() {
    let span = tracing::info_span!(target: "adulis_test", "request", request_id = "r7");
    let _entered = span.enter();
    tracing::error!(target: "adulis_test", "an error");
    tracing::warn!(target: "adulis_test", "a warning");
    tracing::info!(target: "adulis_test", count = 3, "an info");
    tracing::debug!(target: "adulis_test", "a debug line");
    tracing::trace!(target: "adulis_test", "a trace line");
    tracing::debug!(target: "library", "a library's debug line");
}

fn told(kept: &Kept) -> Vec<&'static str> {
    speak();
    let text = kept.taken();
    let all = [
        "an error",
        "a warning",
        "an info",
        "a debug line",
        "a trace line",
        "a library's debug line",
    ];
    all.into_iter().filter(|line| text.contains(line)).collect()
}

#[test]
fn what_is_changed_is_what_is_written() {
    let kept = Kept::default();
    let (dispatch, log) = build("info", Form { json: true, ansi: false }, kept.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        assert_eq!(told(&kept), ["an error", "a warning", "an info"]);
        let change = |update| log.update_log_settings(&update).unwrap();
        let settings = change(LogUpdate { verbose_level: Some(1), ..LogUpdate::default() });
        assert_eq!(settings.verbose_level, 1);
        assert_eq!(told(&kept), ["an error", "a warning", "an info", "a debug line"]);
        change(LogUpdate { verbose_level: Some(2), info: Some(false), ..LogUpdate::default() });
        assert_eq!(told(&kept), ["an error", "a warning", "a debug line", "a trace line"]);
        change(LogUpdate {
            verbose_level: Some(0),
            warning: Some(false),
            error: Some(false),
            ..LogUpdate::default()
        });
        assert_eq!(told(&kept), [""; 0]);
        let settings = change(LogUpdate {
            info: Some(true),
            warning: Some(true),
            error: Some(true),
            ..LogUpdate::default()
        });
        assert_eq!(told(&kept), ["an error", "a warning", "an info"]);
        assert_eq!(settings, log.log_settings());
    });
}

#[test]
fn what_was_changed_is_told_whatever_clients_switch_off() {
    let kept = Kept::default();
    let (dispatch, log) = build("info", Form { json: true, ansi: false }, kept.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        for verbose_level in [None, Some(0), Some(1)] {
            let off = Some(false);
            let update = LogUpdate { info: off, warning: off, error: off, verbose_level, format: None };
            log.update_log_settings(&update).unwrap();
            tracing::info!(target: AUDIT_TARGET, operation = "log_update", "audit");
            tracing::info!(target: "adulis_test", "another line");
            let text = kept.taken();
            assert!(text.contains("log_update") && !text.contains("another line"), "{text}");
        }
    });
}

#[test]
fn lines_change_their_form_and_back() {
    let kept = Kept::default();
    let (dispatch, log) = build("info", Form { json: true, ansi: false }, kept.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        // A span that was there before the change must not be in the way of lines after it.
        let old = tracing::info_span!(target: "adulis_test", "old", request_id = "r6").entered();
        for (format, beginning) in [
            (LogLineFormat::Default, "{\"timestamp\":\"2"),
            (LogLineFormat::Iso8601, "2"),
            (LogLineFormat::Default, "{\"timestamp\":\"2"),
        ] {
            log.update_log_settings(&LogUpdate { format: Some(format), ..LogUpdate::default() })
                .unwrap();
            assert_eq!(log.log_settings().format, format);
            speak();
            let text = kept.taken();
            assert_eq!(text.lines().count(), 3, "{text}");
            for line in text.lines() {
                assert!(line.starts_with(beginning) && line.contains("r7"), "{line}");
            }
        }
        drop(old);
    });
}

#[test]
fn directives_that_make_no_sense_are_refused() {
    let error = build("info,=,", Form { json: false, ansi: false }, Kept::default())
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, LoggingError::Filter { .. }), "{error}");
}
