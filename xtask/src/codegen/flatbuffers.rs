//! What the codec must know of a FlatBuffers schema: where each table has its fields, and the values of enums.
//!
//! No generator is used. Those that there are write accessors with `unsafe` in them, which copy what they write, and a crate
//! that reads schemas would take longer to build than all of this program. The codec in `crates/protocol` is written by hand
//! on what is generated here. This reads the part of the schema language that `proto/infer.fbs` needs and refuses the rest.

use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};

/// A vtable begins with its own length and the table's, two bytes each; then come the fields, two bytes each.
const VTABLE_HEADER_BYTES: usize = 4;
const VTABLE_FIELD_BYTES: usize = 2;

/// Types of fields that the codec knows, beside tables, enums, and lists of all of these.
const SCALARS: [&str; 6] = ["bool", "ubyte", "long", "ulong", "double", "string"];

/// The Rust code of a schema: a module for each table with the offset of each field in the table's vtable, and a list for
/// each enum.
///
/// # Errors
/// A schema that does not parse, or has what the codec does not know.
pub(super) fn generate(name: &str, text: &str) -> Result<String> {
    let tokens: Vec<&str> = tokens(text);
    let mut parser = Parser { tokens: &tokens, types: SCALARS.to_vec(), out: String::new() };
    writeln!(parser.out, "// @generated from proto/{name} by `cargo xtask codegen`; do not edit.")?;
    while let Some(word) = parser.next() {
        parser.declaration(word).with_context(|| format!("{name}: at {word:?}"))?;
    }
    Ok(parser.out)
}

/// Words (with dots), texts in their quotes, and single characters; no comments.
fn tokens(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut tokens = Vec::new();
    for line in text.lines() {
        let mut rest = line.split("//").next().unwrap_or("").trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            tokens.push(&rest[..length]);
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    /// The types that a field may have: a table stands behind those that it holds.
    types: Vec<&'a str>,
    out: String,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn word(&mut self) -> Result<&'a str> {
        self.next().context("the schema ends too early")
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.first() == Some(&token);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        let found = self.word()?;
        ensure!(found == token, "expected {token:?}, got {found:?}");
        Ok(())
    }

    fn declaration(&mut self, word: &str) -> Result<()> {
        match word {
            "namespace" | "root_type" => {
                self.word()?;
                self.expect(";")
            }
            "file_identifier" => {
                let identifier = self.word()?;
                ensure!(identifier.len() == 6, "a file identifier has four characters");
                writeln!(self.out, "\npub(crate) const FILE_IDENTIFIER: [u8; 4] = *b{identifier};")?;
                self.expect(";")
            }
            "enum" => self.enumeration(),
            "table" => self.table(),
            _ => bail!("not a declaration that the codec knows"),
        }
    }

    fn enumeration(&mut self) -> Result<()> {
        let name = self.word()?;
        self.expect(":")?;
        self.expect("ubyte")?;
        self.expect("{")?;
        self.types.push(name);
        let constant = snake(name).to_ascii_uppercase();
        writeln!(self.out, "\npub(crate) const {constant}: &[(&str, u8)] = &[")?;
        while !self.take("}") {
            let value = self.word()?;
            self.expect("=")?;
            let number: u8 = self.word()?.parse().with_context(|| format!("value {value}"))?;
            writeln!(self.out, "    (\"{value}\", {number}),")?;
            ensure!(self.take(",") || self.tokens.first() == Some(&"}"), "value {value}: expected ','");
        }
        writeln!(self.out, "];")?;
        Ok(())
    }

    fn table(&mut self) -> Result<()> {
        let name = self.word()?;
        self.expect("{")?;
        writeln!(self.out, "\npub(crate) mod {} {{", snake(name))?;
        let mut index = 0;
        while !self.take("}") {
            let field = self.word()?;
            let offset = VTABLE_HEADER_BYTES + VTABLE_FIELD_BYTES * index;
            self.field(field, offset).with_context(|| format!("field {field}"))?;
            index += 1;
        }
        writeln!(self.out, "}}")?;
        self.types.push(name);
        Ok(())
    }

    /// The rest of a field: `: TYPE`, `= null`, `(force_align: N)`, `;`.
    fn field(&mut self, field: &str, offset: usize) -> Result<()> {
        self.expect(":")?;
        let list = self.take("[");
        let of = self.word()?;
        ensure!(self.types.contains(&of), "type {of} is not known, or declared further down");
        if list {
            self.expect("]")?;
        }
        let field = field.to_ascii_uppercase();
        writeln!(self.out, "    pub(crate) const {field}: u16 = {offset};")?;
        if self.take("=") {
            self.expect("null")?;
        }
        if self.take("(") {
            self.expect("force_align")?;
            self.expect(":")?;
            let alignment: usize = self.word()?.parse().context("force_align")?;
            writeln!(self.out, "    pub(crate) const {field}_ALIGNMENT: usize = {alignment};")?;
            self.expect(")")?;
        }
        self.expect(";")
    }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_places() {
        let schema = "namespace a.b; // c\nenum TwoWords : ubyte { A = 0, B = 7 }\n\
                      table T { x: TwoWords; y: [ubyte] (force_align: 16); z: long = null; }\n\
                      root_type T; file_identifier \"ABCD\";";
        let made = generate("t.fbs", schema).unwrap();
        assert_eq!(
            made.split_once('\n').unwrap().1,
            "\npub(crate) const TWO_WORDS: &[(&str, u8)] = &[\n    (\"A\", 0),\n    (\"B\", 7),\n];\n\
             \npub(crate) mod t {\n    pub(crate) const X: u16 = 4;\n    pub(crate) const Y: u16 = 6;\n    \
             pub(crate) const Y_ALIGNMENT: usize = 16;\n    pub(crate) const Z: u16 = 8;\n}\n\
             \npub(crate) const FILE_IDENTIFIER: [u8; 4] = *b\"ABCD\";\n"
        );
    }

    #[test]
    fn what_the_codec_does_not_know_is_refused() {
        for schema in [
            "union U { A }",
            "struct S { x: long; }",
            "table T { x: int; }",
            "table T { x: long (deprecated); }",
            "table T { x: long = 3; }",
            "table T { x: long",
            "enum E : ubyte { A }",
            "file_identifier \"ABC\";",
        ] {
            assert!(generate("t.fbs", schema).is_err(), "{schema}");
        }
    }
}
