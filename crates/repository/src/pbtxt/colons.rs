use std::borrow::Cow;

use super::tokens::{Token, Tokens};

/// Writes the colon that the text format lets one leave out before a list of messages, `input [ { … } ]`, which most
/// configurations do and our parser does not know. Lines stay as they are.
///
/// Source: the text format's specification, "Fields": of a field of messages the `:` is optional.
pub(super) fn before_lists(text: &str) -> Cow<'_, str> {
    let mut missing = Vec::new();
    let mut previous = None;
    // Where the name before the current token ends, if that is a field's: what follows a colon is a value.
    let mut field = None;
    for (token, range) in Tokens::from(text, 0) {
        if let (Token::Open(b'['), Some(end)) = (token, field) {
            missing.push(end);
        }
        field = (token == Token::Name && previous != Some(Token::Colon)).then_some(range.end);
        previous = Some(token);
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
