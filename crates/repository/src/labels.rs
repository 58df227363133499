use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest file of labels.
const MAX_FILE_BYTES: usize = 4 << 20;

/// Longest label.
const MAX_LABEL_BYTES: usize = 1024;

/// What the classes of an output are called, in the order of their indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(Box<[Box<str>]>);

impl Labels {
    /// Reads a file of one label per line, in UTF-8.
    ///
    /// # Errors
    /// What is wrong with the file: it cannot be read, it is too long, a line is, or it is not text.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let limit = MAX_FILE_BYTES as u64 + 1;
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|error: io::Error| format!("cannot be read: {error}"))?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(format!("is longer than {MAX_FILE_BYTES} bytes"));
        }
        Self::parse(&bytes)
    }

    /// Reads what such a file holds.
    ///
    /// # Errors
    /// What is wrong with it: a line is too long, or it is not text.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("is not UTF-8 (line {line})")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let labels = text.lines().zip(1_usize..).map(|(label, line)| {
            if label.len() > MAX_LABEL_BYTES {
                return Err(format!(
                    "has a label of {} bytes, over {MAX_LABEL_BYTES} (line {line})",
                    label.len()
                ));
            }
            match label.chars().find(|character| character.is_control() && *character != '\t') {
                Some(character) => {
                    Err(format!("has the control character {:?} in a label (line {line})", character))
                }
                None => Ok(label.into()),
            }
        });
        labels.collect::<Result<_, _>>().map(Self)
    }

    /// The label of a class.
    #[must_use]
    pub fn get(&self, class: usize) -> Option<&str> {
        self.0.get(class).map(|label| &**label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_label() {
        let labels = Labels::parse("\u{feff}cat\r\ndog: big\n\nfish".as_bytes()).unwrap();
        let told: Vec<_> = (0..5).map(|class| labels.get(class)).collect();
        assert_eq!(told, [Some("cat"), Some("dog: big"), Some(""), Some("fish"), None]);
        assert_eq!(Labels::parse(b"one\n").unwrap().get(1), None);
    }

    #[test]
    fn what_is_no_list_of_labels_is_refused() {
        let long = "x".repeat(MAX_LABEL_BYTES + 1);
        for (text, expected) in [
            (&b"cat\n\xff"[..], "is not UTF-8 (line 2)"),
            (b"cat\nd\0g", "has the control character '\\0' in a label (line 2)"),
            (long.as_bytes(), "has a label of 1025 bytes, over 1024 (line 1)"),
        ] {
            assert_eq!(Labels::parse(text).unwrap_err(), expected);
        }
        assert_eq!(Labels::parse(&long.as_bytes()[1..]).unwrap().get(0).map(str::len), Some(MAX_LABEL_BYTES));
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_FILE_BYTES as u64 + 1).unwrap();
        assert_eq!(Labels::read(file.path()).unwrap_err(), "is longer than 4194304 bytes");
        let told = Labels::read(Path::new("/nowhere/labels.txt")).unwrap_err();
        assert!(told.starts_with("cannot be read: "), "{told}");
    }
}
