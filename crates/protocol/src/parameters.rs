use std::time::Duration;

use adulis_types::{
    CacheDirective, InferRequest, Name, ParameterValue, Parameters, RegionPlace, RequestedOutput,
};

use crate::error::Parsed;
use crate::rest::{NonFinite, OutputFormat};
use crate::{Problem, Side, TensorLabel, TensorProblem, sequence};

/// Parameters of the protocols that the codecs take out.
pub(crate) const PRIORITY: &str = "priority";
pub(crate) const TIMEOUT: &str = "timeout";
pub(crate) const BINARY_DATA_OUTPUT: &str = "binary_data_output";
pub(crate) const NON_FINITE: &str = "non_finite";
pub(crate) const BINARY_DATA: &str = "binary_data";
pub(crate) const BINARY_DATA_SIZE: &str = "binary_data_size";
pub(crate) const CLASSIFICATION: &str = "classification";
pub(crate) const SHARED_MEMORY_REGION: &str = "shared_memory_region";
pub(crate) const SHARED_MEMORY_OFFSET: &str = "shared_memory_offset";
pub(crate) const SHARED_MEMORY_BYTE_SIZE: &str = "shared_memory_byte_size";

/// Whether the answer may come from the response cache.
pub(crate) const CACHE_CONTROL: &str = "cache_control";

/// Asks a stream for an empty response behind the last answer of a decoupled model.
pub(crate) const EMPTY_FINAL_RESPONSE: &str = "triton_enable_empty_final_response";
/// Names that begin so are the protocol's own, and only those are taken that are known.
const RESERVED_PREFIX: &str = "triton_";

const A_COUNT: &str = "a whole number of 0 or more";
const A_FLAG: &str = "true or false";
const A_WAY_TO_WRITE: &str = "'string', 'literal' or 'null'";
const A_DIRECTIVE: &str = "'use', 'no-cache' or 'no-store'";
const A_NAME: &str = "the name of a region";

/// In which form a JSON answer's outputs are wanted, where they do not say so themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    /// As binary data.
    pub(crate) binary: bool,
    /// How NaN and infinities are written.
    pub(crate) non_finite: NonFinite,
}

impl Wishes {
    /// The form of a JSON answer that has every output in it, whatever is said of binary data.
    pub(crate) fn in_json(self) -> OutputFormat {
        OutputFormat::new(false).with_non_finite(self.non_finite)
    }
}

/// Moves the parameters that have fields of their own into these; says what those ask for that are about the answer's form.
pub(crate) fn take_fields(request: &mut InferRequest) -> Parsed<Wishes> {
    let parameters = &mut request.parameters;
    if parameters.is_empty() {
        return Ok(Wishes::default());
    }
    let binary = take_flag(parameters, BINARY_DATA_OUTPUT)?.unwrap_or(false);
    let non_finite = take(parameters, NON_FINITE, A_WAY_TO_WRITE, |value| match value {
        ParameterValue::String(text) => {
            NonFinite::NAMES.iter().find(|(name, _)| name == text).map(|(_, non_finite)| *non_finite)
        }
        _ => None,
    })?;
    let priority = take_count(parameters, PRIORITY)?;
    let timeout = take_count(parameters, TIMEOUT)?;
    request.sequence = sequence::take(parameters)?;
    let directive = take(parameters, CACHE_CONTROL, A_DIRECTIVE, |value| match value {
        ParameterValue::String(text) => CacheDirective::named(text),
        _ => None,
    })?;
    request.cache = directive.unwrap_or_default();
    request.empty_final_response = take_flag(parameters, EMPTY_FINAL_RESPONSE)?.unwrap_or(false);
    if let Some((name, _)) = parameters.iter().find(|(name, _)| name.starts_with(RESERVED_PREFIX)) {
        return Err(Box::new(Problem::ReservedParameter { name: name.into() }));
    }
    request.priority = priority.unwrap_or(0);
    if let Some(microseconds) = timeout.filter(|&microseconds| microseconds > 0) {
        request.limit_timeout(Duration::from_micros(microseconds));
    }
    Ok(Wishes { binary, non_finite: non_finite.unwrap_or_default() })
}

/// Takes a flag out.
pub(crate) fn take_flag(parameters: &mut Parameters, name: &'static str) -> Parsed<Option<bool>> {
    take(parameters, name, A_FLAG, ParameterValue::as_bool)
}

/// An output as it is asked for by name and parameters, and whether it is wanted as binary data, where that is said.
pub(crate) fn requested_output(
    name: Name,
    index: usize,
    mut parameters: Parameters,
) -> Parsed<(RequestedOutput, Option<bool>)> {
    if parameters.is_empty() {
        return Ok((RequestedOutput::new(name), None));
    }
    let label = || TensorLabel { side: Side::Output, index, name: Some(name.clone()) };
    let place = take_place(&mut parameters, label)?.map(Box::new);
    let classes = take_count(&mut parameters, CLASSIFICATION)?.unwrap_or(0);
    let classification = usize::try_from(classes).unwrap_or(usize::MAX);
    let binary = take_flag(&mut parameters, BINARY_DATA)?;
    Ok((RequestedOutput { name, classification, place, parameters }, binary))
}

/// The parameters of an output that is asked for, those that its fields stand for among them.
pub(crate) fn of_output(output: &RequestedOutput) -> Parameters {
    let mut parameters = output.parameters.clone();
    if output.classification > 0 {
        parameters.set(CLASSIFICATION, ParameterValue::count(output.classification as u64));
    }
    if let Some(place) = &output.place {
        for (name, value) in of_place(place).iter() {
            parameters.set(name, value.clone());
        }
    }
    parameters
}

/// Takes out where a tensor lies in shared memory, if it does. `tensor` says which one it is, for the message where only a
/// part of that is there.
pub(crate) fn take_place(
    parameters: &mut Parameters,
    tensor: impl FnOnce() -> TensorLabel,
) -> Parsed<Option<RegionPlace>> {
    if parameters.is_empty() {
        return Ok(None);
    }
    let region = take(parameters, SHARED_MEMORY_REGION, A_NAME, |value| match value {
        ParameterValue::String(text) => Some(text.clone()),
        _ => None,
    })?;
    let offset = take_count(parameters, SHARED_MEMORY_OFFSET)?;
    let byte_size = take_count(parameters, SHARED_MEMORY_BYTE_SIZE)?;
    let missing = |key| Err(tensor().problem(TensorProblem::Missing { key }));
    match (region, byte_size) {
        (Some(region), Some(byte_size)) => {
            Ok(Some(RegionPlace { region, offset: offset.unwrap_or(0), byte_size }))
        }
        (Some(_), None) => missing(SHARED_MEMORY_BYTE_SIZE),
        (None, None) if offset.is_none() => Ok(None),
        (None, _) => missing(SHARED_MEMORY_REGION),
    }
}

/// Whether a parameter of this name is one of those that [`take_place`] takes.
pub(crate) fn is_of_place(name: &str) -> bool {
    matches!(name, SHARED_MEMORY_REGION | SHARED_MEMORY_OFFSET | SHARED_MEMORY_BYTE_SIZE)
}

/// The parameters that say where a tensor lies.
pub(crate) fn of_place(place: &RegionPlace) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.set(SHARED_MEMORY_REGION, ParameterValue::String(place.region.clone()));
    parameters.set(SHARED_MEMORY_OFFSET, ParameterValue::count(place.offset));
    parameters.set(SHARED_MEMORY_BYTE_SIZE, ParameterValue::count(place.byte_size));
    parameters
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
pub(crate) fn describe(value: &ParameterValue) -> Name {
    let text = match value {
        ParameterValue::Bool(value) => value.to_string(),
        ParameterValue::Int64(value) => value.to_string(),
        ParameterValue::Uint64(value) => value.to_string(),
        ParameterValue::Double(value) => value.to_string(),
        ParameterValue::String(text) => format!("'{}'", crate::error::excerpt(text.as_bytes())),
    };
    text.into()
}
