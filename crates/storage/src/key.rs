use std::path::{Component, Path, PathBuf};

/// Folders in one another, at most: what the look for changes goes down to.
const MAX_DEPTH: usize = 16;

/// Longest name of a file or folder in bytes.
const MAX_PART_BYTES: usize = 255;

/// What becomes of an object's key, without the repository's prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The file of this relative path.
    File(PathBuf),
    /// Nothing: a hidden file, or a part of a hidden folder, which no scan looks at.
    Hidden,
    /// Nothing, for a reason.
    Refused(&'static str),
}

/// What becomes of a key.
pub(crate) fn path_of(key: &str) -> Key {
    let parts: Vec<&str> = key.split('/').collect();
    if parts.len() > MAX_DEPTH {
        return Key::Refused("lies deeper than 16 folders");
    }
    for part in &parts {
        if part.is_empty() || *part == "." || *part == ".." {
            return Key::Refused("its key has a part that is empty, '.' or '..'");
        }
        if part.len() > MAX_PART_BYTES {
            return Key::Refused("its key has a part that is longer than 255 bytes");
        }
        if part.chars().any(|c| c.is_control() || c == '\\') {
            return Key::Refused("its key has a control character or a backslash");
        }
    }
    if parts.iter().any(|part| part.starts_with('.')) {
        return Key::Hidden;
    }
    let path: PathBuf = parts.iter().collect();
    let is_plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    if is_plain {
        Key::File(path)
    } else {
        Key::Refused("its key is no relative path")
    }
}

/// The first part of a relative path, and whether there are more.
pub(crate) fn top(path: &Path) -> Option<(&str, bool)> {
    let mut components = path.components();
    let first = components.next()?.as_os_str().to_str()?;
    Some((first, components.next().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_paths_inside_of_the_mirror() {
        for key in ["a", "a/1/model.onnx", "a b/ü/x~", "a/..b/c...", "a:b/c*", "C:/x"] {
            if key.contains("/..b") {
                assert_eq!(path_of(key), Key::Hidden, "{key}");
            } else {
                assert_eq!(path_of(key), Key::File(PathBuf::from(key)), "{key}");
            }
        }
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        let deep = vec!["a"; MAX_DEPTH + 1].join("/");
        let long = "x".repeat(MAX_PART_BYTES + 1);
        for key in [
            "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "./a", "a\\b",
            "..\\a", "a\0b", "a\nb", "\u{85}", &deep, &long,
        ] {
            assert!(matches!(path_of(key), Key::Refused(_)), "{key:?}: {:?}", path_of(key));
        }
        assert_eq!(
            path_of(&vec!["a"; MAX_DEPTH].join("/")),
            Key::File(vec!["a"; MAX_DEPTH].iter().collect())
        );
    }

    #[test]
    fn hidden_files_are_left_out() {
        for key in [".git/config", "a/.model.onnx", "a/.cache/1/x", ".a"] {
            assert_eq!(path_of(key), Key::Hidden, "{key}");
        }
    }

    #[test]
    fn top_parts() {
        assert_eq!(top(Path::new("a/1/m")), Some(("a", true)));
        assert_eq!(top(Path::new("a.onnx")), Some(("a.onnx", false)));
        assert_eq!(top(Path::new("")), None);
    }
}
