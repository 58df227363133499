//! `config.pbtxt`: protobuf's text format by the schema in `proto/model_config.proto`, turned into a TOML table, so that
//! both kinds of configuration file share all that follows.

mod colons;

use miette::Diagnostic as _;
use prost_reflect::text_format::ParseError;
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, Value as ProtoValue};
use toml::{Table, Value};

use crate::schema::SCHEMA;
use crate::strict::{Faults, near_miss};

/// Parses a `config.pbtxt` into a table with the same names: messages are tables, enumerations their values' names.
///
/// Only what is set is there; of a field without presence, its default counts as not set. A syntax error, an unknown
/// field or a value out of range is a fault with its line, and the table is empty.
pub(crate) fn parse(text: &str, faults: &mut Faults) -> Table {
    let text = &*colons::before_lists(text);
    match DynamicMessage::parse_text_format(SCHEMA.clone(), text) {
        Ok(message) => table_of(&message),
        Err(error) => {
            let line = offset_of(&error).map(|offset| line_at(text, offset));
            let message = error.to_string();
            let remedy = suggest(&message);
            faults.push_at_line(line, message, remedy);
            Table::new()
        }
    }
}

fn offset_of(error: &ParseError) -> Option<usize> {
    error.labels()?.next().map(|label| label.offset())
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// The near miss of an unknown field or enumeration value, both of which the parser names with their type.
fn suggest(message: &str) -> Option<String> {
    let mut quoted = message.split('\'').skip(1).step_by(2);
    let (word, owner) = (quoted.next()?, quoted.next()?);
    let pool = SCHEMA.parent_pool();
    if let Some(message) = pool.get_message_by_name(owner) {
        let fields: Vec<FieldDescriptor> = message.fields().collect();
        return near_miss(word, fields.iter().map(FieldDescriptor::name));
    }
    let values: Vec<_> = pool.get_enum_by_name(owner)?.values().collect();
    near_miss(word, values.iter().map(|value| value.name()))
}

fn table_of(message: &DynamicMessage) -> Table {
    message
        .fields()
        .map(|(field, value)| (field.name().to_owned(), field_value(&field, value)))
        .collect()
}

fn field_value(field: &FieldDescriptor, value: &ProtoValue) -> Value {
    let kind = match (field.kind(), field.is_map()) {
        (Kind::Message(entry), true) => entry.map_entry_value_field().kind(),
        (kind, _) => kind,
    };
    match value {
        ProtoValue::List(list) => list.iter().map(|item| single(&kind, item)).collect::<Vec<_>>().into(),
        ProtoValue::Map(map) => {
            let entries = map.iter();
            Value::Table(entries.map(|(key, item)| (map_key(key), single(&kind, item))).collect())
        }
        value => single(&kind, value),
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
        MapKey::String(value) => value.clone(),
    }
}

fn single(kind: &Kind, value: &ProtoValue) -> Value {
    match value {
        ProtoValue::Bool(value) => Value::Boolean(*value),
        ProtoValue::I32(value) => Value::Integer(i64::from(*value)),
        ProtoValue::I64(value) => Value::Integer(*value),
        ProtoValue::U32(value) => Value::Integer(i64::from(*value)),
        // Nothing that counts up to here means anything else than "very many".
        ProtoValue::U64(value) => Value::Integer(i64::try_from(*value).unwrap_or(i64::MAX)),
        ProtoValue::F32(value) => Value::Float(f64::from(*value)),
        ProtoValue::F64(value) => Value::Float(*value),
        ProtoValue::String(value) => Value::String(value.clone()),
        ProtoValue::Bytes(value) => Value::String(String::from_utf8_lossy(value).into_owned()),
        ProtoValue::EnumNumber(number) => enum_name(kind.as_enum(), *number),
        ProtoValue::Message(message) => Value::Table(table_of(message)),
        ProtoValue::List(_) | ProtoValue::Map(_) => Value::Array(Vec::new()),
    }
}

fn enum_name(descriptor: Option<&EnumDescriptor>, number: i32) -> Value {
    match descriptor.and_then(|descriptor| descriptor.get_value(number)) {
        Some(value) => Value::String(value.name().to_owned()),
        None => Value::String(number.to_string()),
    }
}

#[cfg(test)]
mod tests;
