//! Small parts of SQL that both kinds of database understand.

use std::fmt::Write;

/// `($1,$2),($3,$4)…`: the values of a statement for several rows.
pub(crate) fn rows_of_placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { "," };
            let _ = write!(text, "{comma}${}", row * columns + column + 1);
        }
        text.push(')');
    }
    text
}

/// Longest name of a table or column, as PostgreSQL has it.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// Whether a name can stand between quotes in a statement: nothing in it is anything else than a name to any database.
pub(crate) fn is_identifier(name: &str) -> bool {
    let bytes = name.as_bytes();
    let starts_well = bytes.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_');
    starts_well
        && bytes.len() <= MAX_IDENTIFIER_BYTES
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Text that every database takes: PostgreSQL's cannot hold NUL.
pub(crate) fn clean(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.to_owned()
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        assert_eq!(rows_of_placeholders(2, 3), "($1,$2,$3),($4,$5,$6)");
        assert_eq!((clean("a"), clean("a\0b")), ("a".to_owned(), "a\u{fffd}b".to_owned()));
        assert_eq!(hex(&[0, 0xab]), "00ab");
        assert!(is_identifier("_a1") && is_identifier(&"x".repeat(63)));
        for name in ["", "1a", "a b", "a\"b", "é", "a;", &"x".repeat(64)] {
            assert!(!is_identifier(name), "{name}");
        }
    }
}
