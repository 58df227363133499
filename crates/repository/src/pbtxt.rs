//! `config.pbtxt`: protobuf's text format by the schema in `proto/model_config.proto`, turned into a TOML table, so that
//! both kinds of configuration file share all that follows.

mod colons;

use miette::Diagnostic as _;
use prost_reflect::text_format::{FormatOptions, ParseError};
use prost_reflect::{DynamicMessage, FieldDescriptor};
use toml::Table;

use crate::schema::{SCHEMA, table_of};
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

/// Writes a message of the schema in the text format, which [`parse`] reads back.
pub(crate) fn print(message: &DynamicMessage) -> String {
    let mut text = message.to_text_format_with_options(&FormatOptions::new().pretty(true));
    text.push('\n');
    text
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

#[cfg(test)]
mod tests;
