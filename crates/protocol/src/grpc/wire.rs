//! A look at a message before it is decoded.
//!
//! On the wire an empty message of a list takes two bytes, in memory a hundred times that. The lists that are bounded are
//! therefore counted first, field by field, without taking any memory.

use crate::error::Parsed;
use crate::{MAX_PARAMETERS, MAX_TENSORS, Problem};

/// Numbers of `ModelInferRequest`'s fields.
const PARAMETERS: u32 = 4;
const INPUTS: u32 = 5;
const OUTPUTS: u32 = 6;
const RAW_CONTENTS: u32 = 7;

/// Numbers of the fields that hold the parameters of an input and of a requested output.
const INPUT_PARAMETERS: u32 = 4;
const OUTPUT_PARAMETERS: u32 = 2;

/// Refuses an encoded `ModelInferRequest` with more inputs, outputs, raw contents or parameters than are taken.
///
/// # Errors
/// [`Problem::TooMany`], and [`Problem::Wire`] for what is no sequence of fields.
pub(super) fn check_request(message: &[u8]) -> Parsed<()> {
    let mut parameters = Counter::new("parameters", MAX_PARAMETERS);
    let mut inputs = Counter::new("inputs", MAX_TENSORS);
    let mut outputs = Counter::new("outputs", MAX_TENSORS);
    let mut contents = Counter::new("raw contents", MAX_TENSORS);
    each_field(message, |number, content| match number {
        PARAMETERS => parameters.count(),
        INPUTS => inputs.count().and_then(|()| check_parameters(content, INPUT_PARAMETERS)),
        OUTPUTS => outputs.count().and_then(|()| check_parameters(content, OUTPUT_PARAMETERS)),
        RAW_CONTENTS => contents.count(),
        _ => Ok(()),
    })
}

fn check_parameters(message: &[u8], field: u32) -> Parsed<()> {
    let mut parameters = Counter::new("parameters", MAX_PARAMETERS);
    each_field(message, |number, _| if number == field { parameters.count() } else { Ok(()) })
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

    fn count(&mut self) -> Parsed<()> {
        self.seen += 1;
        if self.seen <= self.limit {
            return Ok(());
        }
        Err(Box::new(Problem::TooMany { what: self.what, limit: self.limit }))
    }
}

/// Walks over the fields of a message; `field` is told the number and content of each that has a length.
fn each_field(mut rest: &[u8], mut field: impl FnMut(u32, &[u8]) -> Parsed<()>) -> Parsed<()> {
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let skipped = match key & 7 {
            0 => {
                varint(&mut rest)?;
                0
            }
            1 => 8,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).unwrap_or(usize::MAX);
                let content = rest.get(..length).ok_or_else(cut_short)?;
                field(u32::try_from(key >> 3).unwrap_or(0), content)?;
                length
            }
            5 => 4,
            // Groups are of a time before this protocol.
            _ => return Err(wrong("an unknown wire type")),
        };
        rest = rest.get(skipped..).ok_or_else(cut_short)?;
    }
    Ok(())
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
mod tests {
    use super::*;

    fn refusal(message: &[u8]) -> String {
        check_request(message).unwrap_err().to_string()
    }

    #[test]
    fn counts_what_is_bounded() {
        let input = [0x2a, 0];
        assert!(check_request(&input.repeat(MAX_TENSORS)).is_ok());
        assert_eq!(refusal(&input.repeat(MAX_TENSORS + 1)), "too many inputs: at most 1024 are taken");
        assert_eq!(refusal(&[0x32, 0].repeat(MAX_TENSORS + 1)), "too many outputs: at most 1024 are taken");
        assert_eq!(
            refusal(&[0x3a, 0].repeat(MAX_TENSORS + 1)),
            "too many raw contents: at most 1024 are taken"
        );
        assert_eq!(
            refusal(&[0x22, 0].repeat(MAX_PARAMETERS + 1)),
            "too many parameters: at most 64 are taken"
        );
        for (outer, inner) in [(0x2a, 0x22), (0x32, 0x12)] {
            let mut message = vec![outer, 0x82, 0x01];
            message.extend([inner, 0].repeat(MAX_PARAMETERS + 1));
            assert_eq!(refusal(&message), "too many parameters: at most 64 are taken");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, found) in [
            (&[0x2a][..], "cut short"),
            (&[0x2a, 5, 1], "cut short"),
            (&[0x80], "cut short"),
            (&[0x09, 1, 2], "cut short"),
            (&[0x2b], "an unknown wire type"),
            (&[0xff; 11], "more than ten bytes"),
            (&[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "cut short"),
        ] {
            assert!(refusal(bytes).contains(found), "{bytes:?}: {}", refusal(bytes));
        }
        assert!(check_request(&[]).is_ok());
        assert!(check_request(&[0x08, 1, 0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8]).is_ok());
    }
}
