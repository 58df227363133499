use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};
use serde::Serialize;
use serde::ser::{Error as _, SerializeMap, Serializer};

use crate::schema::{map_key, value_kind};

/// Prints a message as Triton does: the schema's names, whole numbers as numbers, enumerations by name, and of each
/// message that is there every field, set or not. Only messages and members of a choice that are not set are left out.
pub(crate) fn print(message: &DynamicMessage) -> Vec<u8> {
    serde_json::to_vec(&Message(message))
        .expect("invariant: the schema has no bytes, and every key is text: JSON can say it all")
}

struct Message<'a>(&'a DynamicMessage);

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in self.0.descriptor().fields() {
            if field.supports_presence() && !self.0.has_field(&field) {
                continue;
            }
            let value = self.0.get_field(&field);
            map.serialize_entry(field.name(), &Item { value: &value, kind: value_kind(&field) })?;
        }
        map.end()
    }
}

struct Item<'a> {
    value: &'a Value,
    kind: Kind,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let item = |value| Item { value, kind: self.kind.clone() };
        match self.value {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::I64(value) => serializer.serialize_i64(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::U64(value) => serializer.serialize_u64(*value),
            Value::F32(value) => serializer.serialize_f32(*value),
            Value::F64(value) => serializer.serialize_f64(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(_) => Err(S::Error::custom("the schema has no bytes")),
            Value::EnumNumber(number) => {
                let descriptor = self.kind.as_enum();
                match descriptor.and_then(|descriptor| descriptor.get_value(*number)) {
                    Some(value) => serializer.serialize_str(value.name()),
                    None => serializer.serialize_i32(*number),
                }
            }
            Value::Message(message) => Message(message).serialize(serializer),
            Value::List(items) => serializer.collect_seq(items.iter().map(item)),
            // By key, so that the same configuration is the same text.
            Value::Map(entries) => {
                let entries: BTreeMap<String, _> =
                    entries.iter().map(|(key, value)| (map_key(key), item(value))).collect();
                serializer.collect_map(entries)
            }
        }
    }
}
