use std::borrow::Cow;

use adulis_types::Name;

use crate::error::{Parsed, excerpt};
use crate::rest::number::Number;
use crate::rest::text;
use crate::{Found, MAX_DEPTH, Problem};

/// A strict JSON reader over the body's JSON part: it hands out what stands at its place and moves on.
///
/// Text is checked to be UTF-8 where it is read; everything outside of strings is ASCII by its grammar.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// Where the next byte stands.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Goes back to an offset that [`Scanner::offset`] gave.
    pub(super) fn rewind(&mut self, offset: usize) {
        self.at = offset;
    }

    /// The next byte that is not white space, not taken yet.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes the byte that [`Scanner::peek`] showed.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Takes `byte`, which must be next.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Parsed<()> {
        if self.peek() == Some(byte) {
            self.bump();
            return Ok(());
        }
        Err(self.wrong(expected))
    }

    /// That something else was expected here.
    #[cold]
    pub(super) fn wrong(&self, expected: &'static str) -> Box<Problem> {
        Box::new(Problem::Json { offset: self.at, expected, found: Found(self.bytes.get(self.at).copied()) })
    }

    /// The value that begins at `offset`, for a message.
    #[cold]
    pub(super) fn excerpt_at(&self, offset: usize) -> Name {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        excerpt(&rest[..end])
    }

    /// Reads an object; `field` must read the value of each key.
    #[inline]
    pub(super) fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Parsed<()>) -> Parsed<()> {
        self.expect(b'{', "'{'")?;
        self.enter()?;
        if self.peek() == Some(b'}') {
            self.bump();
        } else {
            loop {
                if self.peek() != Some(b'"') {
                    return Err(self.wrong("a key in quotes"));
                }
                let key = self.string()?;
                self.expect(b':', "':'")?;
                field(self, &key)?;
                match self.peek() {
                    Some(b',') => self.bump(),
                    Some(b'}') => break self.bump(),
                    _ => return Err(self.wrong("',' or '}'")),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array; `element` must read each value, told its index.
    #[inline]
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self, usize) -> Parsed<()>) -> Parsed<()> {
        self.expect(b'[', "'['")?;
        self.enter()?;
        if self.peek() == Some(b']') {
            self.bump();
        } else {
            let mut index = 0;
            loop {
                element(self, index)?;
                index += 1;
                match self.peek() {
                    Some(b',') => self.bump(),
                    Some(b']') => break self.bump(),
                    _ => return Err(self.wrong("',' or ']'")),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Box::new(Problem::TooMany {
                what: "objects and arrays within each other",
                limit: MAX_DEPTH,
            }));
        }
        Ok(())
    }

    /// Reads a string, without a copy where it has no escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Parsed<Cow<'a, str>> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        let length = text::plain_length(&self.bytes[start..]);
        self.at = start + length;
        if self.bytes.get(self.at) == Some(&b'"') {
            match std::str::from_utf8(&self.bytes[start..self.at]) {
                Ok(text) => {
                    self.bump();
                    return Ok(Cow::Borrowed(text));
                }
                Err(error) => {
                    self.at = start + error.valid_up_to();
                    return Err(self.wrong("UTF-8 text"));
                }
            }
        }
        self.at = start;
        let mut bytes = Vec::new();
        self.string_rest(&mut bytes)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => Err(self.wrong("UTF-8 text")),
        }
    }

    /// Reads a string and appends its bytes, unescaped.
    pub(super) fn string_into(&mut self, out: &mut Vec<u8>) -> Parsed<()> {
        self.expect(b'"', "a string")?;
        self.string_rest(out)
    }

    /// Reads the rest of a string whose opening quote is taken.
    fn string_rest(&mut self, out: &mut Vec<u8>) -> Parsed<()> {
        match text::unescape(&self.bytes[self.at..], out) {
            Ok(length) => {
                self.at += length;
                Ok(())
            }
            Err(fault) => {
                self.at += fault.offset;
                Err(self.wrong(fault.expected))
            }
        }
    }

    /// Reads a number; [`Scanner::peek`] has shown that one begins here.
    #[inline]
    pub(super) fn number(&mut self) -> Parsed<Number<'a>> {
        match Number::scan(&self.bytes[self.at..]) {
            Ok(number) => {
                self.at += number.text.len();
                Ok(number)
            }
            Err(offset) => {
                self.at += offset;
                Err(self.wrong("a digit"))
            }
        }
    }

    /// Reads `true` or `false`, if one of them stands here.
    #[inline]
    pub(super) fn flag(&mut self) -> Option<bool> {
        self.peek();
        if self.literal(b"true") {
            Some(true)
        } else if self.literal(b"false") {
            Some(false)
        } else {
            None
        }
    }

    /// Takes these bytes, if they stand here.
    pub(super) fn literal(&mut self, literal: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(literal);
        if found {
            self.at += literal.len();
        }
        found
    }

    /// Reads any value and forgets it.
    pub(super) fn skip_value(&mut self) -> Parsed<()> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'{') => self.object(|scanner, _| scanner.skip_value()),
            Some(b'[') => self.array(|scanner, _| scanner.skip_value()),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ if self.literal(b"true") || self.literal(b"false") || self.literal(b"null") => Ok(()),
            _ => Err(self.wrong("a value")),
        }
    }

    fn skip_string(&mut self) -> Parsed<()> {
        self.string().map(drop)
    }

    /// Checks that nothing but white space is left.
    pub(super) fn finish(&mut self) -> Parsed<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("the end")),
        }
    }
}
