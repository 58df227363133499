//! A look at a message before it is decoded.
//!
//! On the wire an empty message of a list takes two bytes, in memory a hundred times that. The lists that are bounded are
//! therefore counted first, field by field, without taking any memory.

use std::any::TypeId;

use adulis_types::Name;

use crate::error::{Parsed, excerpt};
use crate::grpc::{
    LogSettingsRequest, ModelInferRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
    TraceSettingRequest,
};
use crate::limits::{MAX_SETTINGS, MAX_TYPED_NUMBERS, MAX_TYPED_STRINGS};
use crate::settings::MAX_VALUES;
use crate::{DecodeError, MAX_LOAD_PARAMETERS, MAX_PARAMETERS, MAX_TENSORS, Problem};

/// Numbers of `ModelInferRequest`'s fields.
const PARAMETERS: u32 = 4;
const INPUTS: u32 = 5;
const OUTPUTS: u32 = 6;
const RAW_CONTENTS: u32 = 7;

/// Numbers of an input's fields, and of the one that holds the parameters of a requested output.
const INPUT_SHAPE: u32 = 3;
const INPUT_PARAMETERS: u32 = 4;
const INPUT_CONTENTS: u32 = 5;
const OUTPUT_PARAMETERS: u32 = 2;

/// Numbers of `InferTensorContents`' fields that take more bytes in memory than on the wire: integers, and strings.
const CONTENTS_INTEGERS: std::ops::RangeInclusive<u32> = 2..=5;
const CONTENTS_STRINGS: u32 = 8;

/// Numbers of the maps in requests about repositories and settings, and of the fields of an entry and of a list of values.
const REPOSITORY_PARAMETERS: u32 = 3;
const SETTINGS: u32 = 1;
const ENTRY_VALUE: u32 = 2;
const VALUES: u32 = 1;

/// Where a message names its model, as far as clients write it there: in front.
const NAME_WITHIN: usize = 8;

/// How messages of one type are looked at.
struct Check {
    run: fn(&[u8]) -> Parsed<()>,
    /// Number of the field with the model's name; 0 where there is none.
    model: u32,
}

/// Refuses an encoded message of type `M` with more of something than is taken. Types without lists have nothing to refuse.
///
/// # Errors
/// [`Problem::TooMany`], and [`Problem::Wire`] for what is no sequence of fields.
pub(super) fn check<M: 'static>(message: &[u8]) -> Result<(), DecodeError> {
    let Some(check) = check_of::<M>() else {
        return Ok(());
    };
    (check.run)(message).map_err(|problem| DecodeError::new(name_in(message, check.model), problem))
}

fn check_of<M: 'static>() -> Option<Check> {
    let message = TypeId::of::<M>();
    let is = |other: TypeId| message == other;
    if is(TypeId::of::<ModelInferRequest>()) {
        Some(Check { run: check_request, model: 1 })
    } else if is(TypeId::of::<RepositoryModelLoadRequest>()) {
        Some(Check { run: check_load, model: 2 })
    } else if is(TypeId::of::<RepositoryModelUnloadRequest>()) {
        Some(Check { run: check_unload, model: 2 })
    } else if is(TypeId::of::<TraceSettingRequest>()) {
        Some(Check { run: check_trace, model: 2 })
    } else if is(TypeId::of::<LogSettingsRequest>()) {
        Some(Check { run: check_log, model: 0 })
    } else {
        None
    }
}

fn name_in(message: &[u8], field: u32) -> Name {
    let mut fields = Fields(message).take(NAME_WITHIN).map_while(Result::ok);
    fields
        .find(|(number, _)| *number == field)
        .map(|(_, name)| excerpt(name))
        .unwrap_or_default()
}

fn check_request(message: &[u8]) -> Parsed<()> {
    let mut parameters = Counter::new("parameters", MAX_PARAMETERS);
    let mut inputs = Counter::new("inputs", MAX_TENSORS);
    let mut outputs = Counter::new("outputs", MAX_TENSORS);
    let mut contents = Counter::new("raw contents", MAX_TENSORS);
    let mut typed = Typed::new();
    for field in Fields(message) {
        match field? {
            (PARAMETERS, _) => parameters.add(1)?,
            (INPUTS, input) => {
                inputs.add(1)?;
                typed.check_input(input)?;
            }
            (OUTPUTS, output) => {
                outputs.add(1)?;
                check_list(output, OUTPUT_PARAMETERS, Counter::new("parameters", MAX_PARAMETERS))?;
            }
            (RAW_CONTENTS, _) => contents.add(1)?,
            _ => {}
        }
    }
    Ok(())
}

/// What the inputs of a request hold in fields whose elements are larger in memory than on the wire.
struct Typed {
    integers: Counter,
    strings: Counter,
}

impl Typed {
    fn new() -> Self {
        Self {
            integers: Counter::new("integers outside of raw contents", MAX_TYPED_NUMBERS),
            strings: Counter::new("strings outside of raw contents", MAX_TYPED_STRINGS),
        }
    }

    fn check_input(&mut self, input: &[u8]) -> Parsed<()> {
        let mut parameters = Counter::new("parameters", MAX_PARAMETERS);
        for field in Fields(input) {
            match field? {
                (INPUT_SHAPE, shape) => self.integers.add(varints(shape))?,
                (INPUT_PARAMETERS, _) => parameters.add(1)?,
                (INPUT_CONTENTS, contents) => self.check_contents(contents)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_contents(&mut self, contents: &[u8]) -> Parsed<()> {
        for field in Fields(contents) {
            match field? {
                (CONTENTS_STRINGS, _) => self.strings.add(1)?,
                (number, content) if CONTENTS_INTEGERS.contains(&number) => {
                    self.integers.add(varints(content))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn check_load(message: &[u8]) -> Parsed<()> {
    check_list(message, REPOSITORY_PARAMETERS, Counter::new("parameters", MAX_LOAD_PARAMETERS))
}

fn check_unload(message: &[u8]) -> Parsed<()> {
    check_list(message, REPOSITORY_PARAMETERS, Counter::new("parameters", MAX_PARAMETERS))
}

fn check_log(message: &[u8]) -> Parsed<()> {
    check_list(message, SETTINGS, Counter::new("settings", MAX_SETTINGS))
}

fn check_trace(message: &[u8]) -> Parsed<()> {
    check_log(message)?;
    for setting in all(message, SETTINGS) {
        // An entry's value may come in parts, which are put together.
        let mut values = Counter::new("values of a setting", MAX_VALUES);
        for value in all(setting?, ENTRY_VALUE) {
            for value in all(value?, VALUES) {
                value?;
                values.add(1)?;
            }
        }
    }
    Ok(())
}

/// Counts the elements of one list.
fn check_list(message: &[u8], list: u32, mut counter: Counter) -> Parsed<()> {
    all(message, list).try_for_each(|element| element.and_then(|_| counter.add(1)))
}

/// The contents of all fields of this number.
fn all(message: &[u8], field: u32) -> impl Iterator<Item = Parsed<&[u8]>> {
    Fields(message).filter_map(move |found| match found {
        Ok((number, content)) => (number == field).then_some(Ok(content)),
        Err(problem) => Some(Err(problem)),
    })
}

/// How many numbers of seven bits a byte these are.
fn varints(packed: &[u8]) -> usize {
    packed.iter().filter(|byte| **byte < 0x80).count()
}

struct Counter {
    what: &'static str,
    limit: usize,
    seen: usize,
}

impl Counter {
    fn new(what: &'static str, limit: usize) -> Self {
        Self { what, limit, seen: 0 }
    }

    fn add(&mut self, count: usize) -> Parsed<()> {
        self.seen += count;
        if self.seen <= self.limit {
            return Ok(());
        }
        Err(Box::new(Problem::TooMany { what: self.what, limit: self.limit }))
    }
}

/// The fields of a message, with the bytes of each. Ends with the first that is wrong.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Parsed<(u32, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.take_field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn take_field(&mut self) -> Parsed<(u32, &'a [u8])> {
        let key = varint(&mut self.0)?;
        let length = match key & 7 {
            0 => {
                let mut behind = self.0;
                varint(&mut behind)?;
                self.0.len() - behind.len()
            }
            1 => 8,
            2 => usize::try_from(varint(&mut self.0)?).unwrap_or(usize::MAX),
            5 => 4,
            // Groups are of a time before this protocol.
            _ => return Err(wrong("an unknown wire type")),
        };
        let (content, rest) = self.0.split_at_checked(length).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok((u32::try_from(key >> 3).unwrap_or(0), content))
    }
}

/// Takes a number of seven bits a byte, the low ones first, off the front.
fn varint(rest: &mut &[u8]) -> Parsed<u64> {
    let mut value = 0;
    for index in 0..10 {
        let (&byte, after) = rest.split_first().ok_or_else(cut_short)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(wrong("a number of more than ten bytes"))
}

fn cut_short() -> Box<Problem> {
    wrong("a field that is cut short")
}

fn wrong(found: &'static str) -> Box<Problem> {
    Box::new(Problem::Wire { reason: found.into() })
}

#[cfg(test)]
mod tests;
