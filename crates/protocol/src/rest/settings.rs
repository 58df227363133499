//! The bodies of the logging and trace extensions.

use adulis_types::{LogSettings, LogUpdate, Name, TraceSettings, TraceUpdate};
use bytes::Bytes;

use crate::error::Parsed;
use crate::rest::parameter::duplicate;
use crate::rest::scanner::Scanner;
use crate::rest::writer;
use crate::settings::{self, MAX_VALUES, Value};
use crate::{DecodeError, Problem};

/// Decodes the body of `POST /v2/logging`, which may be empty.
///
/// # Errors
/// [`DecodeError`] for what is not JSON, for unknown settings, values of the wrong type, and the log's file.
///
/// Source: Triton, "Logging Extension".
pub fn decode_log_update(body: &[u8]) -> Result<LogUpdate, DecodeError> {
    let mut update = LogUpdate::default();
    let read = fields(body, |name, value| settings::set_log(&mut update, name, value));
    read.map(|()| update).map_err(|problem| DecodeError::new("", problem))
}

/// Decodes the body of `POST /v2[/models/{model}]/trace/setting`, which may be empty. `null` clears a setting.
///
/// # Errors
/// [`DecodeError`] for what is not JSON, for unknown settings and values, and the traces' file.
///
/// Source: Triton, "Trace Extension".
pub fn decode_trace_update(model: &str, body: &[u8]) -> Result<TraceUpdate, DecodeError> {
    let mut update = TraceUpdate::default();
    let read = fields(body, |name, value| settings::set_trace(&mut update, name, value));
    read.map(|()| update).map_err(|problem| DecodeError::new(model, problem))
}

fn fields(body: &[u8], mut set: impl FnMut(&str, &Value) -> Parsed<()>) -> Parsed<()> {
    let mut scanner = Scanner::new(body);
    if scanner.peek().is_none() {
        return Ok(());
    }
    // There are few names, and the first unknown one ends it.
    let mut seen: Vec<Name> = Vec::new();
    scanner.object(|scanner, key| {
        if seen.iter().any(|earlier| earlier == key) {
            return Err(duplicate(key));
        }
        seen.push(key.into());
        set(key, &value(scanner)?)
    })?;
    scanner.finish()
}

fn value(scanner: &mut Scanner<'_>) -> Parsed<Value> {
    match scanner.peek() {
        Some(b'"') => Ok(Value::Text(scanner.string()?.as_ref().into())),
        Some(b'[') => texts(scanner),
        Some(b't' | b'f') => match scanner.flag() {
            Some(flag) => Ok(Value::Flag(flag)),
            None => Err(scanner.wrong("a value")),
        },
        Some(b'-' | b'0'..=b'9') => {
            let start = scanner.offset();
            let integer = scanner.number()?.integer();
            let number = integer.and_then(|number| u32::try_from(number).ok()).map(Value::Number);
            Ok(number.unwrap_or_else(|| {
                let text = scanner.excerpt_at(start);
                // -1 stands for no end where counts are written as text; as a number it is meant as well.
                if text == "-1" { Value::Text(text) } else { Value::Other(text) }
            }))
        }
        Some(b'{') => {
            scanner.skip_value()?;
            Ok(Value::Other("an object".into()))
        }
        _ => {
            // Nothing else is left but null.
            scanner.skip_value()?;
            Ok(Value::Nothing)
        }
    }
}

fn texts(scanner: &mut Scanner<'_>) -> Parsed<Value> {
    let (mut texts, mut is_of_texts) = (Vec::new(), true);
    scanner.array(|scanner, index| {
        if index >= MAX_VALUES {
            return Err(Box::new(Problem::TooMany { what: "values of a setting", limit: MAX_VALUES }));
        }
        if scanner.peek() == Some(b'"') {
            texts.push(Name::from(scanner.string()?.as_ref()));
            return Ok(());
        }
        is_of_texts = false;
        scanner.skip_value()
    })?;
    Ok(if is_of_texts {
        Value::Texts(texts)
    } else {
        Value::Other("a list of other things than texts".into())
    })
}

/// The answer of `/v2/logging`.
#[must_use]
pub fn log_settings(log: &LogSettings) -> Bytes {
    let mut out = Vec::new();
    let flag = |flag| if flag { &b"true"[..] } else { b"false" };
    writer::key(&mut out, "{", settings::LOG_FILE);
    writer::string(&mut out, &log.file);
    for (name, shown) in [
        (settings::LOG_INFO, log.info),
        (settings::LOG_WARNING, log.warning),
        (settings::LOG_ERROR, log.error),
    ] {
        writer::key(&mut out, ",", name);
        out.extend_from_slice(flag(shown));
    }
    writer::key(&mut out, ",", settings::LOG_VERBOSE_LEVEL);
    writer::integer(&mut out, log.verbose_level);
    writer::key(&mut out, ",", settings::LOG_FORMAT);
    writer::string(&mut out, settings::format_word(log.format));
    out.push(b'}');
    out.into()
}

/// The answer of `/v2[/models/{model}]/trace/setting`. Numbers are texts, as Triton has them.
#[must_use]
pub fn trace_settings(trace: &TraceSettings) -> Bytes {
    let mut out = Vec::new();
    writer::key(&mut out, "{", settings::TRACE_LEVEL);
    writer::list(&mut out, settings::level_words(trace.levels), writer::string);
    for (name, text) in [
        (settings::TRACE_RATE, trace.rate.to_string()),
        (settings::TRACE_COUNT, settings::count_text(trace.count)),
        (settings::LOG_FREQUENCY, trace.log_frequency.to_string()),
        (settings::TRACE_FILE, trace.file.as_ref().to_owned()),
        (settings::TRACE_MODE, settings::mode_word(trace.mode).to_owned()),
    ] {
        writer::key(&mut out, ",", name);
        writer::string(&mut out, &text);
    }
    out.push(b'}');
    out.into()
}

#[cfg(test)]
mod tests;
