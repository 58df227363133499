use adulis_types::{Change, LogLineFormat, TraceLevels, TraceMode};

use super::*;

fn log(body: &str) -> Result<LogUpdate, String> {
    decode_log_update(body.as_bytes()).map_err(|error| error.to_string())
}

fn trace(body: &str) -> Result<TraceUpdate, String> {
    decode_trace_update("m", body.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_change_of_the_log_has_what_was_said_and_nothing_else() {
    assert_eq!(log(""), Ok(LogUpdate::default()));
    assert_eq!(log(" {} "), Ok(LogUpdate::default()));
    assert_eq!(
        log(
            r#"{"log_info":false,"log_verbose_level":3,"log_format":"ISO8601","log_error":null,"log_file":null}"#
        ),
        Ok(LogUpdate {
            info: Some(false),
            verbose_level: Some(3),
            format: Some(LogLineFormat::Iso8601),
            ..LogUpdate::default()
        })
    );
    // As the extension's description spells them.
    assert_eq!(
        log(r#"{"log_warnings":true,"log_errors":false,"log_format":"default"}"#),
        Ok(LogUpdate {
            warning: Some(true),
            error: Some(false),
            format: Some(LogLineFormat::Default),
            ..LogUpdate::default()
        })
    );
}

#[test]
fn a_change_of_the_traces_clears_with_null() {
    assert_eq!(trace(""), Ok(TraceUpdate::default()));
    assert_eq!(
        trace(
            r#"{"trace_level":["TENSORS","TIMESTAMPS"],"trace_rate":"7","trace_count":"-1","log_frequency":"0",
                "trace_mode":"triton"}"#
        ),
        Ok(TraceUpdate {
            levels: Change::Set(TraceLevels { timestamps: true, tensors: true }),
            rate: Change::Set(7),
            count: Change::Set(None),
            log_frequency: Change::Set(0),
        })
    );
    assert_eq!(
        trace(r#"{"trace_level":null,"trace_rate":null,"trace_count":null,"log_frequency":null}"#),
        Ok(TraceUpdate {
            levels: Change::Clear,
            rate: Change::Clear,
            count: Change::Clear,
            log_frequency: Change::Clear,
        })
    );
    // Numbers as such, and a level outside of a list.
    assert_eq!(
        trace(r#"{"trace_level":"OFF","trace_rate":4294967295,"trace_count":-1,"log_frequency":2}"#),
        Ok(TraceUpdate {
            levels: Change::Set(TraceLevels::OFF),
            rate: Change::Set(u32::MAX),
            count: Change::Set(None),
            log_frequency: Change::Set(2),
        })
    );
}

#[test]
fn what_is_wrong_with_a_change_is_named() {
    for (body, expected) in [
        ("[]", "invalid JSON at byte 0: expected '{', got '['"),
        (r#"{"log_infos":true}"#, "unknown setting 'log_infos': expected log_info, log_warning"),
        (r#"{"log_file":"/etc/passwd"}"#, "setting 'log_file' is made where the server is started"),
        (r#"{"log_info":1}"#, "setting 'log_info': expected true or false, got 1"),
        (r#"{"log_info":"true"}"#, "setting 'log_info': expected true or false, got 'true'"),
        (r#"{"log_verbose_level":-1}"#, "expected a whole number from 0 to 4294967295, got '-1'"),
        (r#"{"log_verbose_level":4294967296}"#, "got 4294967296"),
        (r#"{"log_verbose_level":1.5}"#, "got 1.5"),
        (
            r#"{"log_format":"xml"}"#,
            "setting 'log_format': expected 'default' or 'ISO8601', got 'xml'",
        ),
        (r#"{"log_info":true,"log_info":true}"#, "duplicate key 'log_info'"),
        (r#"{"log_info":tru}"#, "invalid JSON at byte 12"),
        (r#"{"log_info":nul}"#, "invalid JSON at byte 12: expected a value"),
        (r#"{"log_info":true} x"#, "expected the end"),
    ] {
        let error = log(body).unwrap_err();
        assert!(error.contains(expected), "{body}: {error}");
    }
    for (body, expected) in [
        (
            r#"{"trace_levels":[]}"#,
            "model 'm': unknown setting 'trace_levels': expected trace_level,",
        ),
        (
            r#"{"trace_file":"/etc/passwd"}"#,
            "setting 'trace_file' is made where the server is started",
        ),
        (r#"{"trace_file":null}"#, "setting 'trace_file' is made where the server is started"),
        (
            r#"{"trace_level":["OFF","TENSORS"]}"#,
            "expected OFF alone, or TIMESTAMPS, TENSORS or both, got ['OFF', ",
        ),
        (r#"{"trace_level":[]}"#, "got []"),
        (r#"{"trace_level":[1]}"#, "got a list of other things than texts"),
        (
            r#"{"trace_level":["A","B","C","D","E","F","G","H","I"]}"#,
            "too many values of a setting: at most 8",
        ),
        (r#"{"trace_level":{"a":1}}"#, "got an object"),
        (
            r#"{"trace_rate":"0"}"#,
            "setting 'trace_rate': expected a whole number from 1 to 4294967295, got '0'",
        ),
        (r#"{"trace_rate":"+1"}"#, "got '+1'"),
        (r#"{"trace_rate":"1e3"}"#, "got '1e3'"),
        (r#"{"trace_count":"-2"}"#, "or -1 for no end, got '-2'"),
        (r#"{"trace_count":"2147483648"}"#, "got '2147483648'"),
        (r#"{"log_frequency":"99999999999999999999"}"#, "got '99999999999999999999'"),
        (r#"{"trace_mode":"opentelemetry"}"#, "'opentelemetry' is not supported by this server"),
        (r#"{"trace_mode":"file"}"#, "setting 'trace_mode': expected 'triton', got 'file'"),
    ] {
        let error = trace(body).unwrap_err();
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[test]
fn answers_are_as_triton_writes_them() {
    let log = LogSettings {
        file: "".into(),
        info: true,
        warning: false,
        error: true,
        verbose_level: 2,
        format: LogLineFormat::Iso8601,
    };
    assert_eq!(
        log_settings(&log),
        r#"{"log_file":"","log_info":true,"log_warning":false,"log_error":true,"log_verbose_level":2,"log_format":"ISO8601"}"#
    );
    let mut trace = TraceSettings {
        levels: TraceLevels { timestamps: true, tensors: true },
        rate: 1000,
        count: None,
        log_frequency: 50,
        file: "/tmp/\"x\"".into(),
        mode: TraceMode::Triton,
    };
    assert_eq!(
        trace_settings(&trace),
        r#"{"trace_level":["TIMESTAMPS","TENSORS"],"trace_rate":"1000","trace_count":"-1","log_frequency":"50","trace_file":"/tmp/\"x\"","trace_mode":"triton"}"#
    );
    (trace.levels, trace.count) = (TraceLevels::OFF, Some(3));
    let text = trace_settings(&trace);
    assert!(
        text.starts_with(br#"{"trace_level":["OFF"],"#)
            && text.windows(17).any(|part| part == br#""trace_count":"3""#)
    );
}
