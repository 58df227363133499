//! Triton's JSON form of a configuration: protobuf's mapping of the schema in `proto/model_config.proto`, turned into a TOML
//! table, as `config.pbtxt` is.

mod print;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value as Json;
use toml::{Table, Value};

use crate::schema::{SCHEMA, value_kind};
use crate::strict::{Faults, near_miss};

pub(crate) use print::print;

/// Parses a document into a table with the schema's names: messages are tables, enumerations their values' names.
///
/// Names may be the schema's (`max_batch_size`) or lowerCamelCase, whole numbers may be texts, and enumerations may be
/// numbers: protobuf's own printers write all of these. As in the text format, only what is set is there; of a field
/// without presence, its default counts as not set. Every unknown key and every value of a wrong kind is a fault.
///
/// Source: protobuf's documentation, "ProtoJSON Format".
pub(crate) fn parse(text: &[u8], faults: &mut Faults) -> Table {
    match serde_json::from_slice(text) {
        Ok(Json::Object(object)) => message(&SCHEMA, &object, "", faults),
        Ok(_) => {
            faults.push("", "expected a JSON object");
            Table::new()
        }
        Err(error) => {
            faults.push("", format!("is not JSON: {error}"));
            Table::new()
        }
    }
}

fn message(
    descriptor: &MessageDescriptor,
    object: &serde_json::Map<String, Json>,
    path: &str,
    faults: &mut Faults,
) -> Table {
    let mut table = Table::new();
    for (name, json) in object {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let field = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
        let Some(field) = field else {
            let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
            let hint = near_miss(name, fields.iter().map(FieldDescriptor::name));
            faults.push_with_hint(key, "unknown key", hint);
            continue;
        };
        if let Some(value) = field_value(&field, json, &key, faults)
            && (field.supports_presence() || !is_default(&field, &value))
        {
            table.insert(field.name().to_owned(), value);
        }
    }
    table
}

/// `None` for what is not set, and for what is at fault.
fn field_value(field: &FieldDescriptor, json: &Json, key: &str, faults: &mut Faults) -> Option<Value> {
    match json {
        Json::Null => None,
        Json::Object(object) if field.is_map() => {
            let kind = value_kind(field);
            let entries = object.iter().filter_map(|(name, json)| {
                Some((name.clone(), single(&kind, json, &format!("{key}.{name}"), faults)?))
            });
            Some(Value::Table(entries.collect()))
        }
        Json::Array(list) if field.is_list() => {
            let kind = field.kind();
            let items = list.iter().enumerate();
            let items =
                items.filter_map(|(index, json)| single(&kind, json, &format!("{key}[{index}]"), faults));
            Some(Value::Array(items.collect()))
        }
        _ if field.is_map() => wrong("an object", json, key, faults),
        _ if field.is_list() => wrong("a list", json, key, faults),
        json => single(&field.kind(), json, key, faults),
    }
}

fn single(kind: &Kind, json: &Json, key: &str, faults: &mut Faults) -> Option<Value> {
    match (kind, json) {
        (Kind::Message(descriptor), Json::Object(object)) => {
            Some(Value::Table(message(descriptor, object, key, faults)))
        }
        (Kind::Message(_), json) => wrong("an object", json, key, faults),
        (Kind::Enum(descriptor), json) => enum_name(descriptor, json, key, faults),
        (Kind::Bool, Json::Bool(flag)) => Some(Value::Boolean(*flag)),
        (Kind::Bool, json) => wrong("true or false", json, key, faults),
        (Kind::String, Json::String(text)) => Some(Value::String(text.clone())),
        (Kind::String | Kind::Bytes, json) => wrong("text", json, key, faults),
        (Kind::Float | Kind::Double, json) => match number(json) {
            Some(number) => Some(Value::Float(number)),
            None => wrong("a number", json, key, faults),
        },
        (kind, json) => whole(kind, json, key, faults),
    }
}

fn enum_name(descriptor: &EnumDescriptor, json: &Json, key: &str, faults: &mut Faults) -> Option<Value> {
    let value = match json {
        Json::String(name) => descriptor.get_value_by_name(name),
        json => integer(json).and_then(|number| descriptor.get_value(i32::try_from(number).ok()?)),
    };
    if let Some(value) = value {
        return Some(Value::String(value.name().to_owned()));
    }
    let values: Vec<_> = descriptor.values().collect();
    let names = || values.iter().map(|value| value.name());
    let hint = json.as_str().and_then(|name| near_miss(name, names()));
    let message = format!("expected one of {}, got {json}", names().collect::<Vec<_>>().join(", "));
    faults.push_with_hint(key, message, hint);
    None
}

fn whole(kind: &Kind, json: &Json, key: &str, faults: &mut Faults) -> Option<Value> {
    let limits = match kind {
        Kind::Uint64 | Kind::Fixed64 => 0..=i128::from(u64::MAX),
        Kind::Uint32 | Kind::Fixed32 => 0..=i128::from(u32::MAX),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => i128::from(i32::MIN)..=i128::from(i32::MAX),
        _ => i128::from(i64::MIN)..=i128::from(i64::MAX),
    };
    let Some(number) = integer(json) else {
        return wrong("a whole number", json, key, faults);
    };
    if !limits.contains(&number) {
        let message = format!("expected {} to {}, got {number}", limits.start(), limits.end());
        faults.push(key, message);
        return None;
    }
    // Nothing that counts up to here means anything else than "very many".
    Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn integer(json: &Json) -> Option<i128> {
    match json {
        Json::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn number(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn wrong(expected: &str, json: &Json, key: &str, faults: &mut Faults) -> Option<Value> {
    let got = match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    };
    faults.push(key, format!("expected {expected}, got {got}"));
    None
}

/// Whether the value says no more than that the field is not set.
fn is_default(field: &FieldDescriptor, value: &Value) -> bool {
    match value {
        Value::String(name) => match field.kind() {
            Kind::Enum(descriptor) => descriptor.default_value().name() == name,
            _ => name.is_empty(),
        },
        Value::Integer(number) => *number == 0,
        Value::Float(number) => *number == 0.0,
        Value::Boolean(flag) => !flag,
        Value::Array(list) => list.is_empty(),
        Value::Table(table) => table.is_empty(),
        Value::Datetime(_) => false,
    }
}
