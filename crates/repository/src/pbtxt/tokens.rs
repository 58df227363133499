use std::ops::Range;

/// What the text format is made of, as far as its structure goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A name: of a field, of an enumeration's value, `true` or `inf`.
    Name,
    /// A text in quotes.
    Text,
    Colon,
    /// `[`, `{` or `<`.
    Open(u8),
    /// `]`, `}` or `>`.
    Close,
    /// `,` or `;`.
    Separator,
    /// One byte of anything else: of numbers, signs and dots.
    Other,
}

/// The tokens of a text and where they are; white space and comments left out.
pub(super) struct Tokens<'a> {
    text: &'a str,
    position: usize,
}

impl Iterator for Tokens<'_> {
    type Item = (Token, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.position)? {
                b'#' => self.skip_while(|byte| byte != b'\n'),
                byte if byte.is_ascii_whitespace() => self.position += 1,
                _ => break,
            }
        }
        let start = self.position;
        let first = bytes[start];
        self.position += 1;
        let token = match first {
            b'"' | b'\'' => {
                self.skip_string(first);
                Token::Text
            }
            b':' => Token::Colon,
            b'[' | b'{' | b'<' => Token::Open(first),
            b']' | b'}' | b'>' => Token::Close,
            b',' | b';' => Token::Separator,
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                Token::Name
            }
            _ => Token::Other,
        };
        Some((token, start..self.position))
    }
}

impl<'a> Tokens<'a> {
    /// The tokens of `text` from `position` on, which must not lie within one.
    pub(super) fn from(text: &'a str, position: usize) -> Self {
        Self { text, position }
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

/// How deep the text nests messages and lists.
pub(super) fn depth(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for (token, _) in Tokens::from(text, 0) {
        match token {
            Token::Open(_) => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Where the field ends whose name ends at `position`: behind its value and the separator that may follow.
pub(super) fn end_of_field(text: &str, position: usize) -> usize {
    let mut tokens = Tokens::from(text, position).peekable();
    if tokens.next_if(|(token, _)| *token == Token::Colon).is_none()
        && !matches!(tokens.peek(), Some((Token::Open(_), _)))
    {
        return position;
    }
    let Some((first, range)) = tokens.next() else {
        return position;
    };
    let mut end = range.end;
    match first {
        Token::Open(_) => {
            let mut depth = 1_usize;
            while depth > 0
                && let Some((token, range)) = tokens.next()
            {
                match token {
                    Token::Open(_) => depth += 1,
                    Token::Close => depth -= 1,
                    _ => {}
                }
                end = range.end;
            }
        }
        // Texts side by side are one.
        Token::Text => {
            while let Some((_, range)) = tokens.next_if(|(token, _)| *token == Token::Text) {
                end = range.end;
            }
        }
        // A number, which may have a name's letters in it: `-1e5f`, `- inf`.
        Token::Other => {
            while let Some((_, range)) = tokens.next_if(|(token, range)| {
                *token == Token::Other || (*token == Token::Name && range.start == end)
            }) {
                end = range.end;
            }
        }
        Token::Name => {}
        Token::Colon | Token::Close | Token::Separator => return position,
    }
    match tokens.next_if(|(token, _)| *token == Token::Separator) {
        Some((_, range)) => range.end,
        None => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_behind_their_values() {
        for (text, rest) in [
            ("a: 1 b: 2", " b: 2"),
            ("a: -1.5e3, b: 2", " b: 2"),
            ("a { b [ { c: '}' } ] # }\n } b: 2", " b: 2"),
            ("a: [ 1, 2 ]; b: 2", " b: 2"),
            ("a: 'x' \"y\" b: 2", " b: 2"),
            ("a: TYPE_FP32\nb: 2", "\nb: 2"),
            ("a < b: 1 >\nb: 2", "\nb: 2"),
            ("a b: 2", " b: 2"),
            ("a: }", ": }"),
            ("a {", ""),
            ("a", ""),
            ("a:", ":"),
        ] {
            assert_eq!(&text[end_of_field(text, 1)..], rest, "{text}");
        }
    }

    #[test]
    fn depth_counts_what_is_open() {
        assert_eq!(depth("a { b [ '{' ] } # {{{\n c < >"), 2);
        assert_eq!(depth("}} {"), 1);
    }
}
