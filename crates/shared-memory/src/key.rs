use std::fmt;

use adulis_types::Name;

/// Longest name of a region, and longest key without its slash, in bytes: what a file's name can have.
pub const MAX_NAME_BYTES: usize = 255;

/// The key of a POSIX shared memory object, such as `/my_region`: one name in the system's flat space of such objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionKey(Name);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Nothing, or a slash alone.
    #[error("it is empty")]
    Empty,
    /// Longer than a file's name can be.
    #[error("it is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// It would lead elsewhere.
    #[error("it is a path: expected one name, such as /my_region")]
    Path,
    /// It has control characters.
    #[error("it has control characters")]
    Control,
}

impl RegionKey {
    /// The key that `text` is: a name without slashes but for one before it, which may be left out.
    ///
    /// # Errors
    /// [`KeyFault`].
    ///
    /// Source: POSIX, `shm_open`.
    pub fn new(text: impl Into<Name>) -> Result<Self, KeyFault> {
        let key = Self(text.into());
        match key.object() {
            "" => Err(KeyFault::Empty),
            "." | ".." => Err(KeyFault::Path),
            object if object.len() > MAX_NAME_BYTES => Err(KeyFault::TooLong),
            object if object.contains('/') => Err(KeyFault::Path),
            object if object.chars().any(char::is_control) => Err(KeyFault::Control),
            _ => Ok(key),
        }
    }

    /// The key without its leading slash.
    #[must_use]
    pub fn object(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or(&self.0)
    }

    /// The key as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_with_or_without_its_slash() {
        assert_eq!(RegionKey::new("/my_region").unwrap().object(), "my_region");
        assert_eq!(RegionKey::new("my region.é..").unwrap().object(), "my region.é..");
        assert!(RegionKey::new(format!("/{}", "x".repeat(MAX_NAME_BYTES))).is_ok());
    }

    #[test]
    fn nothing_else() {
        for (text, fault) in [
            ("", KeyFault::Empty),
            ("/", KeyFault::Empty),
            (".", KeyFault::Path),
            ("/..", KeyFault::Path),
            ("//etc/passwd", KeyFault::Path),
            ("/../../etc/passwd", KeyFault::Path),
            ("a/b", KeyFault::Path),
            ("a/", KeyFault::Path),
            ("/a\0b", KeyFault::Control),
            ("/a\n", KeyFault::Control),
            (&"x".repeat(MAX_NAME_BYTES + 1), KeyFault::TooLong),
        ] {
            assert_eq!(RegionKey::new(text).unwrap_err(), fault, "{text:?}");
        }
    }
}
