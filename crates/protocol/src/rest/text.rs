//! JSON strings between their quotes.

/// What is wrong with a string, and where in it.
pub(super) struct TextFault {
    pub(super) offset: usize,
    pub(super) expected: &'static str,
}

/// How many bytes from the start stand for themselves: up to a quote, a backslash or a control character.
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)
        .unwrap_or(bytes.len())
}

/// Appends the text up to the closing quote, unescaped and checked to be UTF-8; returns how many bytes of the input it
/// took, the quote included.
pub(super) fn unescape(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, TextFault> {
    let mut at = 0;
    loop {
        let run = &bytes[at..at + plain_length(&bytes[at..])];
        if let Err(error) = std::str::from_utf8(run) {
            return Err(fault(at + error.valid_up_to(), "UTF-8 text"));
        }
        out.extend_from_slice(run);
        at += run.len();
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += escape(bytes, at, out)?,
            Some(_) => return Err(fault(at, "no control characters in a string")),
            None => return Err(fault(at, "the end of a string")),
        }
    }
}

fn fault(offset: usize, expected: &'static str) -> TextFault {
    TextFault { offset, expected }
}

/// Appends what the escape at `at` stands for; returns its length.
fn escape(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, TextFault> {
    let plain = match bytes.get(at + 1) {
        Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return unicode(bytes, at, out),
        _ => return Err(fault(at + 1, "an escape of JSON")),
    };
    out.push(plain);
    Ok(2)
}

/// `\uXXXX`, or two of them that make a surrogate pair.
fn unicode(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, TextFault> {
    let first = code_unit(bytes, at)?;
    let (code, length) = match first {
        0xd800..=0xdbff => {
            if bytes.get(at + 6..at + 8) != Some(b"\\u") {
                return Err(fault(at + 6, "the second half of a surrogate pair"));
            }
            match code_unit(bytes, at + 6)? {
                second @ 0xdc00..=0xdfff => (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12),
                _ => return Err(fault(at + 8, "the second half of a surrogate pair")),
            }
        }
        _ => (first, 6),
    };
    let Some(char) = char::from_u32(code) else {
        return Err(fault(at + 2, "the first half of a surrogate pair"));
    };
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(length)
}

fn code_unit(bytes: &[u8], at: usize) -> Result<u32, TextFault> {
    let mut unit = 0;
    for place in at + 2..at + 6 {
        match bytes.get(place).and_then(|&digit| char::from(digit).to_digit(16)) {
            Some(digit) => unit = unit * 16 + digit,
            None => return Err(fault(place.min(bytes.len()), "four hexadecimal digits")),
        }
    }
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, (usize, &'static str)> {
        let mut out = Vec::new();
        match unescape(text.as_bytes(), &mut out) {
            Ok(length) => {
                assert_eq!(length, text.len());
                Ok(String::from_utf8(out).unwrap())
            }
            Err(fault) => Err((fault.offset, fault.expected)),
        }
    }

    #[test]
    fn escapes_of_json() {
        assert_eq!(read(r#"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\té😀z");
        assert_eq!(read("plain é\"").unwrap(), "plain é");
    }

    #[test]
    fn what_is_not_json() {
        assert_eq!(read("open"), Err((4, "the end of a string")));
        assert_eq!(read("a\nb\""), Err((1, "no control characters in a string")));
        assert_eq!(read(r#"\x""#), Err((1, "an escape of JSON")));
        assert_eq!(read(r#"\u12g4""#), Err((4, "four hexadecimal digits")));
        assert_eq!(read(r"\u12"), Err((4, "four hexadecimal digits")));
        assert_eq!(read(r#"\ud83d""#), Err((6, "the second half of a surrogate pair")));
        assert_eq!(read(r#"\ud83d\u0041""#), Err((8, "the second half of a surrogate pair")));
        assert_eq!(read(r#"\ude00""#), Err((2, "the first half of a surrogate pair")));
        let mut out = Vec::new();
        assert_eq!(unescape(b"a\xff\"", &mut out).err().unwrap().offset, 1);
    }
}
