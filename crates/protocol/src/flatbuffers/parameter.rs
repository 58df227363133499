use adulis_types::{ParameterValue, Parameters};
use smallvec::SmallVec;

use super::table::Tables;
use super::writer::{Field, Writer};
use crate::error::{Parsed, excerpt};
use crate::generated::infer::parameter::{
    BOOL_VALUE, DOUBLE_VALUE, INT64_VALUE, NAME, STRING_VALUE, UINT64_VALUE,
};
use crate::{MAX_PARAMETERS, Problem};

/// What a list of parameters is called where it is too long.
pub(super) const LIST: (&str, usize) = ("parameters", MAX_PARAMETERS);

/// Reads a list of parameters.
pub(super) fn read_all(list: Tables<'_>) -> Parsed<Parameters> {
    let mut parameters = Parameters::default();
    for table in list.iter() {
        let table = table?;
        let name = table.text(NAME)?;
        let number = |slot| table.number(slot);
        let values: [Option<ParameterValue>; 5] = [
            table.number(BOOL_VALUE)?.map(|[flag]| ParameterValue::Bool(flag != 0)),
            number(INT64_VALUE)?.map(|value| ParameterValue::Int64(i64::from_le_bytes(value))),
            number(UINT64_VALUE)?.map(|value| ParameterValue::count(u64::from_le_bytes(value))),
            number(DOUBLE_VALUE)?.map(|value| ParameterValue::Double(f64::from_le_bytes(value))),
            table.optional_text(STRING_VALUE)?.map(|text| ParameterValue::String(text.into())),
        ];
        let mut values = values.into_iter().flatten();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value,
            (first, _) => {
                let found = if first.is_some() { "several" } else { "none" };
                return Err(Box::new(Problem::Parameter {
                    name: excerpt(name.as_bytes()),
                    expected: "exactly one value",
                    found: found.into(),
                }));
            }
        };
        if parameters.get(name).is_some() {
            return Err(Box::new(Problem::DuplicateKey { key: excerpt(name.as_bytes()) }));
        }
        parameters.set(name, value);
    }
    Ok(parameters)
}

/// Writes a list of parameters.
pub(super) fn write_all(writer: &mut Writer, link: usize, parameters: &Parameters) {
    let entries: SmallVec<[_; 8]> = parameters.iter().collect();
    let links = writer.tables(link, entries.len());
    for (link, (name, value)) in links.zip(entries) {
        let field = match value {
            ParameterValue::Bool(flag) => (BOOL_VALUE, Field::Byte(u8::from(*flag))),
            ParameterValue::Int64(value) => (INT64_VALUE, Field::Long(value.to_le_bytes())),
            ParameterValue::Uint64(value) => (UINT64_VALUE, Field::Long(value.to_le_bytes())),
            ParameterValue::Double(value) => (DOUBLE_VALUE, Field::Long(value.to_le_bytes())),
            ParameterValue::String(_) => (STRING_VALUE, Field::Link),
        };
        let links = writer.table(link, &[(NAME, Field::Link), field]);
        writer.text(links[0], name);
        if let ParameterValue::String(text) = value {
            writer.text(links[1], text);
        }
    }
}
