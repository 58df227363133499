use std::time::Duration;

use adulis_types::{InferRequest, ParameterValue, Parameters};

use crate::error::Parsed;
use crate::{Problem, sequence};

/// Parameters of the protocols that the codecs take out.
pub(crate) const PRIORITY: &str = "priority";
pub(crate) const TIMEOUT: &str = "timeout";
pub(crate) const BINARY_DATA_OUTPUT: &str = "binary_data_output";
pub(crate) const BINARY_DATA: &str = "binary_data";
pub(crate) const BINARY_DATA_SIZE: &str = "binary_data_size";
pub(crate) const SHARED_MEMORY_REGION: &str = "shared_memory_region";

const A_COUNT: &str = "a whole number of 0 or more";
const A_FLAG: &str = "true or false";

/// Moves the parameters that have fields of their own into these; says whether outputs are wanted as binary data.
pub(crate) fn take_fields(request: &mut InferRequest) -> Parsed<bool> {
    let parameters = &mut request.parameters;
    if parameters.is_empty() {
        return Ok(false);
    }
    let binary = take_flag(parameters, BINARY_DATA_OUTPUT)?.unwrap_or(false);
    let priority = take_count(parameters, PRIORITY)?;
    let timeout = take_count(parameters, TIMEOUT)?;
    request.sequence = sequence::take(parameters)?;
    request.priority = priority.unwrap_or(0);
    if let Some(microseconds) = timeout.filter(|&microseconds| microseconds > 0) {
        request.limit_timeout(Duration::from_micros(microseconds));
    }
    Ok(binary)
}

/// Takes a flag out.
pub(crate) fn take_flag(parameters: &mut Parameters, name: &'static str) -> Parsed<Option<bool>> {
    take(parameters, name, A_FLAG, ParameterValue::as_bool)
}

fn take_count(parameters: &mut Parameters, name: &'static str) -> Parsed<Option<u64>> {
    take(parameters, name, A_COUNT, ParameterValue::as_u64)
}

fn take<T>(
    parameters: &mut Parameters,
    name: &'static str,
    expected: &'static str,
    read: impl FnOnce(&ParameterValue) -> Option<T>,
) -> Parsed<Option<T>> {
    let Some(value) = parameters.remove(name) else {
        return Ok(None);
    };
    match read(&value) {
        Some(value) => Ok(Some(value)),
        None => Err(Box::new(Problem::Parameter { name: name.into(), expected, found: describe(&value) })),
    }
}

/// A value for a message.
pub(crate) fn describe(value: &ParameterValue) -> adulis_types::Name {
    let text = match value {
        ParameterValue::Bool(value) => value.to_string(),
        ParameterValue::Int64(value) => value.to_string(),
        ParameterValue::Uint64(value) => value.to_string(),
        ParameterValue::Double(value) => value.to_string(),
        ParameterValue::String(text) => format!("'{}'", crate::error::excerpt(text.as_bytes())),
    };
    text.into()
}
