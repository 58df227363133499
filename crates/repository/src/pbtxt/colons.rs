use std::borrow::Cow;

/// Writes the colon that the text format lets one leave out before a list of messages, `input [ { … } ]`, which most
/// configurations do and our parser does not know. Lines stay as they are.
///
/// Source: the text format's specification, "Fields": of a field of messages the `:` is optional.
pub(super) fn before_lists(text: &str) -> Cow<'_, str> {
    let mut missing = Vec::new();
    let mut previous = Token::Other;
    for (token, end) in Tokens::of(text) {
        if let (Token::Field { end }, Token::OpenBracket) = (previous, token) {
            missing.push(end);
        }
        previous = match token {
            // What follows a colon is a value, not a field's name.
            Token::Name if previous != Token::Colon => Token::Field { end },
            token => token,
        };
    }
    if missing.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + missing.len());
    let mut start = 0;
    for end in missing {
        out.push_str(&text[start..end]);
        out.push(':');
        start = end;
    }
    out.push_str(&text[start..]);
    Cow::Owned(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    /// A name, whatever of.
    Name,
    /// A name that is a field's, and where it ends.
    Field {
        end: usize,
    },
    Colon,
    OpenBracket,
    /// Anything else: strings, numbers, braces.
    Other,
}

/// The tokens of a text and where they end; white space and comments left out.
struct Tokens<'a> {
    text: &'a str,
    position: usize,
}

impl Iterator for Tokens<'_> {
    type Item = (Token, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.position)? {
                b'#' => self.skip_while(|byte| byte != b'\n'),
                byte if byte.is_ascii_whitespace() => self.position += 1,
                _ => break,
            }
        }
        let first = bytes[self.position];
        self.position += 1;
        let token = match first {
            b'"' | b'\'' => {
                self.skip_string(first);
                Token::Other
            }
            b':' => Token::Colon,
            b'[' => Token::OpenBracket,
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                Token::Name
            }
            _ => Token::Other,
        };
        Some((token, self.position))
    }
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    fn skip_while(&mut self, condition: impl Fn(u8) -> bool) {
        let rest = &self.text.as_bytes()[self.position..];
        let length = rest.iter().position(|byte| !condition(*byte));
        self.position += length.unwrap_or(rest.len());
    }

    /// Skips to behind the closing quote, or to the end where there is none.
    fn skip_string(&mut self, quote: u8) {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.position) {
            self.position += match byte {
                b'\\' => 2,
                _ => 1,
            };
            if *byte == quote {
                return;
            }
        }
        self.position = bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_one_is_missing() {
        for (text, expected) in [
            ("input [ ]", "input: [ ]"),
            ("input\n# list:\n[{}]", "input:\n# list:\n[{}]"),
            ("a: 1, b [2]", "a: 1, b: [2]"),
            ("a { b [ { c [] } ] }", "a { b: [ { c: [] } ] }"),
        ] {
            assert_eq!(before_lists(text), expected);
        }
        for text in [
            "input: [ ]",
            "kind: KIND_CPU [ext.field]: 1",
            "name: 'input [' # input [",
            r#"name: "a\" input [" "#,
            "kinds: [A, B]",
            "name: 'open [",
            "name: 'é \\",
            "{ [ext] { } }",
        ] {
            assert_eq!(before_lists(text), text);
        }
    }
}
