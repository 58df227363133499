use adulis_types::{ParameterValue, Parameters, Sequence, SequenceId};

use crate::Problem;
use crate::error::Parsed;
use crate::parameters::{describe, take_flag};

const ID: &str = "sequence_id";
const START: &str = "sequence_start";
const END: &str = "sequence_end";

const AN_ID: &str = "a whole number of 0 or more, or text of at most 128 bytes";

/// Takes the parameters out that say where a request stands in a sequence. An id of 0 or without text is none, and without one
/// there is no sequence to begin or to end: models that batch sequences refuse the request, others pay no heed to it.
pub(crate) fn take(parameters: &mut Parameters) -> Parsed<Option<Sequence>> {
    let id = match parameters.remove(ID) {
        None => None,
        Some(value) => read_id(&value)?,
    };
    let start = take_flag(parameters, START)?.unwrap_or(false);
    let end = take_flag(parameters, END)?.unwrap_or(false);
    Ok(id.map(|id| Sequence { id, start, end }))
}

/// The parameters that [`take`] takes out.
pub(crate) fn parameters(sequence: &Sequence) -> Parameters {
    let mut parameters = Parameters::default();
    let id = match &sequence.id {
        SequenceId::Number(id) => {
            i64::try_from(*id).map_or(ParameterValue::Uint64(*id), ParameterValue::Int64)
        }
        SequenceId::Text(id) => ParameterValue::String(id.clone()),
    };
    parameters.set(ID, id);
    parameters.set(START, ParameterValue::Bool(sequence.start));
    parameters.set(END, ParameterValue::Bool(sequence.end));
    parameters
}

fn read_id(value: &ParameterValue) -> Parsed<Option<SequenceId>> {
    let id = match value {
        // Text of digits is a text: models tell the two apart.
        ParameterValue::String(text) => {
            Some(SequenceId::Text(text.clone())).filter(|_| text.len() <= SequenceId::MAX_TEXT_BYTES)
        }
        number => number.as_u64().map(SequenceId::Number),
    };
    match id {
        Some(SequenceId::Number(0)) => Ok(None),
        Some(SequenceId::Text(text)) if text.is_empty() => Ok(None),
        Some(id) => Ok(Some(id)),
        None => {
            Err(Box::new(Problem::Parameter { name: ID.into(), expected: AN_ID, found: describe(value) }))
        }
    }
}
