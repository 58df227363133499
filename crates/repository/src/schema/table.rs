use std::collections::HashMap;

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value as ProtoValue,
};
use toml::{Table, Value};

/// The message that a table stands for: the other way round of [`table_of`]. Numbers that a field has no room for become
/// the nearest that it has.
///
/// `None` if the table has a name or a kind of value that the schema has not.
pub(crate) fn message_of(descriptor: &MessageDescriptor, table: &Table) -> Option<DynamicMessage> {
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in table {
        let field = descriptor.get_field_by_name(name)?;
        let value = proto_value(&field, value)?;
        message.try_set_field(&field, value).ok()?;
    }
    Some(message)
}

fn proto_value(field: &FieldDescriptor, value: &Value) -> Option<ProtoValue> {
    let kind = field.kind();
    match value {
        Value::Table(table) if field.is_map() => {
            let entry = kind.as_message()?;
            let (keys, values) = (entry.map_entry_key_field().kind(), value_kind(field));
            let entries =
                table.iter().map(|(key, item)| Some((key_of(&keys, key)?, item_of(&values, item)?)));
            Some(ProtoValue::Map(entries.collect::<Option<HashMap<_, _>>>()?))
        }
        Value::Array(items) if field.is_list() => {
            let items = items.iter().map(|item| item_of(&kind, item));
            Some(ProtoValue::List(items.collect::<Option<_>>()?))
        }
        value => item_of(&kind, value),
    }
}

fn key_of(kind: &Kind, key: &str) -> Option<MapKey> {
    match kind {
        Kind::Uint64 => key.parse().ok().map(MapKey::U64),
        Kind::String => Some(MapKey::String(key.to_owned())),
        _ => None,
    }
}

fn item_of(kind: &Kind, value: &Value) -> Option<ProtoValue> {
    match (kind, value) {
        (Kind::Message(descriptor), Value::Table(table)) => {
            message_of(descriptor, table).map(ProtoValue::Message)
        }
        (Kind::Enum(descriptor), Value::String(name)) => {
            let value = descriptor.get_value_by_name(name)?;
            Some(ProtoValue::EnumNumber(value.number()))
        }
        (Kind::Bool, Value::Boolean(flag)) => Some(ProtoValue::Bool(*flag)),
        (Kind::String, Value::String(text)) => Some(ProtoValue::String(text.clone())),
        (Kind::Float, Value::Float(number)) => Some(ProtoValue::F32(narrow(*number))),
        (Kind::Double, Value::Float(number)) => Some(ProtoValue::F64(*number)),
        (kind, Value::Integer(number)) => integer_of(kind, *number),
        _ => None,
    }
}

fn integer_of(kind: &Kind, number: i64) -> Option<ProtoValue> {
    match kind {
        Kind::Int64 => Some(ProtoValue::I64(number)),
        Kind::Int32 => {
            let nearest = number.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            i32::try_from(nearest).ok().map(ProtoValue::I32)
        }
        Kind::Uint64 => u64::try_from(number.max(0)).ok().map(ProtoValue::U64),
        Kind::Uint32 => {
            let nearest = number.clamp(0, i64::from(u32::MAX));
            u32::try_from(nearest).ok().map(ProtoValue::U32)
        }
        _ => None,
    }
}

/// The schema's `float`, of which TOML only knows the wider form.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the schema says FP32: more digits mean nothing"
)]
pub(crate) fn narrow(number: f64) -> f32 {
    number as f32
}

/// A message as a table with the schema's names: messages are tables, enumerations their values' names. Only what is set
/// is there; of a field without presence, its default counts as not set.
pub(crate) fn table_of(message: &DynamicMessage) -> Table {
    message
        .fields()
        .map(|(field, value)| (field.name().to_owned(), field_value(&field, value)))
        .collect()
}

fn field_value(field: &FieldDescriptor, value: &ProtoValue) -> Value {
    let kind = value_kind(field);
    match value {
        ProtoValue::List(list) => list.iter().map(|item| single(&kind, item)).collect::<Vec<_>>().into(),
        ProtoValue::Map(map) => {
            let entries = map.iter();
            Value::Table(entries.map(|(key, item)| (map_key(key), single(&kind, item))).collect())
        }
        value => single(&kind, value),
    }
}

/// The kind of a field's values: of a map, that of what its keys stand for.
pub(crate) fn value_kind(field: &FieldDescriptor) -> Kind {
    match (field.kind(), field.is_map()) {
        (Kind::Message(entry), true) => entry.map_entry_value_field().kind(),
        (kind, _) => kind,
    }
}

/// A map's key as text.
pub(crate) fn map_key(key: &MapKey) -> String {
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
