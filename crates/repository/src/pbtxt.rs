//! `config.pbtxt`: protobuf's text format by the schema in `proto/model_config.proto`, turned into a TOML table, so that
//! both kinds of configuration file share all that follows.

mod colons;
mod tokens;

use std::ops::Range;

use miette::Diagnostic as _;
use prost_reflect::text_format::{FormatOptions, ParseError};
use prost_reflect::{DynamicMessage, FieldDescriptor};
use toml::Table;

use crate::schema::{SCHEMA, table_of};
use crate::strict::{Faults, near_miss};

/// How deep messages and lists may nest: the schema's own go less deep, and the parser's stack is not endless.
const MAX_DEPTH: usize = 32;

/// Parses a `config.pbtxt` into a table with the same names: messages are tables, enumerations their values' names.
///
/// Only what is set is there; of a field without presence, its default counts as not set. Every unknown field is a fault with
/// its line. The first syntax error or value out of range is one too; the table is empty then.
pub(crate) fn parse(text: &str, faults: &mut Faults) -> Table {
    if tokens::depth(text) > MAX_DEPTH {
        faults.push("", format!("is nested deeper than {MAX_DEPTH} levels"));
        return Table::new();
    }
    let mut text = colons::before_lists(text).into_owned();
    loop {
        let error = match DynamicMessage::parse_text_format(SCHEMA.clone(), &text) {
            Ok(message) => return table_of(&message),
            Err(error) => error,
        };
        let line = range_of(&error).map(|range| line_at(&text, range.start));
        let message = error.to_string();
        let remedy = suggest(&message);
        // The parser stops at the first fault. So an unknown field is taken out and the rest read again.
        match unknown_field(&error, &message, &text) {
            Some(range) if !faults.is_full() => {
                faults.push_key_at_line(line, &text[range.start..range.name_end], remedy);
                blank(&mut text, range.start..range.end);
            }
            _ => {
                faults.push_at_line(line, message, remedy);
                return Table::new();
            }
        }
    }
}

/// A field that the schema has not.
struct UnknownField {
    start: usize,
    name_end: usize,
    end: usize,
}

fn unknown_field(error: &ParseError, message: &str, text: &str) -> Option<UnknownField> {
    let Range { start, end } = range_of(error)?;
    let is_name = message.starts_with("field '") && text.get(start..end).is_some();
    is_name.then(|| UnknownField { start, name_end: end, end: tokens::end_of_field(text, end) })
}

/// Leaves nothing of a part but its lines.
fn blank(text: &mut String, range: Range<usize>) {
    let lines: String = text[range.clone()].chars().filter(|character| *character == '\n').collect();
    text.replace_range(range, &format!(" {lines}"));
}

/// Writes a message of the schema in the text format, which [`parse`] reads back.
pub(crate) fn print(message: &DynamicMessage) -> String {
    let mut text = message.to_text_format_with_options(&FormatOptions::new().pretty(true));
    text.push('\n');
    text
}

fn range_of(error: &ParseError) -> Option<Range<usize>> {
    let label = error.labels()?.next()?;
    Some(label.offset()..label.offset() + label.len())
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
