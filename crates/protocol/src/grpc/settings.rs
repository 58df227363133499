//! The messages of the logging and trace extensions.

use std::collections::BTreeMap;

use adulis_types::{LogSettings, LogUpdate, Name, TraceSettings, TraceUpdate};

use crate::error::Parsed;
use crate::grpc::log_settings_request::setting_value::ParameterChoice as Asked;
use crate::grpc::log_settings_response::setting_value::ParameterChoice as Told;
use crate::grpc::{
    LogSettingsRequest, LogSettingsResponse, TraceSettingRequest, TraceSettingResponse,
    log_settings_response, trace_setting_response,
};
use crate::settings::{self, MAX_VALUES, Value};
use crate::{DecodeError, Problem};

/// The change that a message asks for; `None` where it only asks what holds.
///
/// # Errors
/// [`DecodeError`] for unknown settings, values of the wrong type, and the log's file.
pub fn decode_log_update(message: LogSettingsRequest) -> Result<Option<LogUpdate>, DecodeError> {
    if message.settings.is_empty() {
        return Ok(None);
    }
    let mut update = LogUpdate::default();
    let set = |(name, value): (String, crate::grpc::log_settings_request::SettingValue)| {
        let value = match value.parameter_choice {
            None => Value::Nothing,
            Some(Asked::BoolParam(flag)) => Value::Flag(flag),
            Some(Asked::Uint32Param(number)) => Value::Number(number),
            Some(Asked::StringParam(text)) => Value::Text(text.into()),
        };
        settings::set_log(&mut update, &name, &value)
    };
    let read: Parsed<()> = message.settings.into_iter().try_for_each(set);
    read.map(|()| Some(update)).map_err(|problem| DecodeError::new("", problem))
}

/// The answer to `LogSettings`.
#[must_use]
pub fn log_settings(log: &LogSettings) -> LogSettingsResponse {
    let settings = [
        (settings::LOG_FILE, Told::StringParam(log.file.as_ref().to_owned())),
        (settings::LOG_INFO, Told::BoolParam(log.info)),
        (settings::LOG_WARNING, Told::BoolParam(log.warning)),
        (settings::LOG_ERROR, Told::BoolParam(log.error)),
        (settings::LOG_VERBOSE_LEVEL, Told::Uint32Param(log.verbose_level)),
        (settings::LOG_FORMAT, Told::StringParam(settings::format_word(log.format).to_owned())),
    ];
    let named = |(name, value): (&str, Told)| {
        (name.to_owned(), log_settings_response::SettingValue { parameter_choice: Some(value) })
    };
    LogSettingsResponse { settings: settings.into_iter().map(named).collect() }
}

/// The change that a message asks for; `None` where it only asks what holds. A setting without values is cleared.
///
/// # Errors
/// [`DecodeError`] for unknown settings and values, and the traces' file.
pub fn decode_trace_update(message: TraceSettingRequest) -> Result<Option<TraceUpdate>, DecodeError> {
    let TraceSettingRequest { settings, model_name } = message;
    if settings.is_empty() {
        return Ok(None);
    }
    let mut update = TraceUpdate::default();
    let read: Parsed<()> = settings.into_iter().try_for_each(|(name, setting)| {
        let mut values = setting.value;
        if values.len() > MAX_VALUES {
            return Err(Box::new(Problem::TooMany { what: "values of a setting", limit: MAX_VALUES }));
        }
        let value = match values.len() {
            0 => Value::Nothing,
            1 => Value::Text(values.swap_remove(0).into()),
            _ => Value::Texts(values.into_iter().map(Name::from).collect()),
        };
        settings::set_trace(&mut update, &name, &value)
    });
    read.map(|()| Some(update)).map_err(|problem| DecodeError::new(model_name, problem))
}

/// The answer to `TraceSetting`.
#[must_use]
pub fn trace_settings(trace: &TraceSettings) -> TraceSettingResponse {
    let levels = settings::level_words(trace.levels).into_iter().map(str::to_owned).collect();
    let settings = [
        (settings::TRACE_LEVEL, levels),
        (settings::TRACE_RATE, vec![trace.rate.to_string()]),
        (settings::TRACE_COUNT, vec![settings::count_text(trace.count)]),
        (settings::LOG_FREQUENCY, vec![trace.log_frequency.to_string()]),
        (settings::TRACE_FILE, vec![trace.file.as_ref().to_owned()]),
        (settings::TRACE_MODE, vec![settings::mode_word(trace.mode).to_owned()]),
    ];
    let named = |(name, value): (&str, Vec<String>)| {
        (name.to_owned(), trace_setting_response::SettingValue { value })
    };
    TraceSettingResponse { settings: settings.into_iter().map(named).collect::<BTreeMap<_, _>>() }
}
