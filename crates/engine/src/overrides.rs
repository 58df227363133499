use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adulis_types::Name;
use bytes::Bytes;
use tempfile::TempDir;

/// Files that one request may bring along, how long the path of one may be, and how deep it may lie.
const MAX_FILES: usize = 1024;
const MAX_PATH_BYTES: usize = 1024;
const MAX_DEPTH: usize = 8;

/// Room for the files of models that came with a request, in all: what is used of it is given back with the last model
/// that needs it.
#[derive(Debug)]
pub(crate) struct OverrideSpace {
    used_bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
}

/// A private folder with one model's files. It lives as long as the model.
#[derive(Debug)]
pub(crate) struct OverrideFolder {
    model: PathBuf,
    // In this order: room is free when the files are gone.
    _folder: TempDir,
    _room: Room,
}

/// Why files that came with a request cannot be taken. What it says is for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverrideError {
    #[error("file override needs the model's configuration, too: give it as 'config'")]
    NoConfig,
    #[error("{count} files are more than {MAX_FILES}")]
    TooMany { count: usize },
    #[error("{what:?} is not a path within the model's folder: {why}")]
    Path { what: String, why: &'static str },
    #[error(
        "{wanted_bytes} bytes of files are more than there is room for ({free_bytes} of {limit_bytes} bytes are free)"
    )]
    NoRoom { wanted_bytes: usize, free_bytes: usize, limit_bytes: usize },
    #[error("{what:?} cannot be written: {error}")]
    Write { what: String, error: io::Error },
}

impl OverrideSpace {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { used_bytes: Arc::default(), limit_bytes }
    }

    /// Writes the files of model `name` into a folder of their own. Blocking.
    ///
    /// # Errors
    /// Nothing is left of a folder that could not be made as a whole.
    pub(crate) fn write(
        &self,
        name: &str,
        files: &[(Name, Bytes)],
    ) -> Result<Arc<OverrideFolder>, OverrideError> {
        check(name, files)?;
        let room = self.take(files.iter().map(|(_, content)| content.len()).sum())?;
        let failed = |what: &str, error| OverrideError::Write { what: what.to_owned(), error };
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("adulis-").permissions(private).tempdir();
        let folder = folder.map_err(|error| failed(name, error))?;
        let model = folder.path().join(name);
        for (path, content) in files {
            write(&model.join(path.as_str()), content).map_err(|error| failed(path, error))?;
        }
        Ok(Arc::new(OverrideFolder { model, _folder: folder, _room: room }))
    }

    fn take(&self, bytes: usize) -> Result<Room, OverrideError> {
        let within = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit_bytes);
        let taken = self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
        match taken {
            Ok(_) => Ok(Room { used_bytes: Arc::clone(&self.used_bytes), bytes }),
            Err(used) => Err(OverrideError::NoRoom {
                wanted_bytes: bytes,
                free_bytes: self.limit_bytes.saturating_sub(used),
                limit_bytes: self.limit_bytes,
            }),
        }
    }
}

impl OverrideFolder {
    /// The model's folder.
    pub(crate) fn model(&self) -> &Path {
        &self.model
    }
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
struct Room {
    used_bytes: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Checks name and paths before anything is written.
fn check(name: &str, files: &[(Name, Bytes)]) -> Result<(), OverrideError> {
    if files.len() > MAX_FILES {
        return Err(OverrideError::TooMany { count: files.len() });
    }
    let fault = |what: &str, why| Err(OverrideError::Path { what: what.to_owned(), why });
    match path_fault(name) {
        Some(why) => return fault(name, why),
        None if name.contains('/') => return fault(name, "a model's name has no '/'"),
        None => {}
    }
    match files.iter().find_map(|(path, _)| Some((path, path_fault(path)?))) {
        Some((path, why)) => fault(path, why),
        None => Ok(()),
    }
}

/// What is wrong with a path, if anything. One that is sound names something below the folder that it is joined to.
fn path_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.len() > MAX_PATH_BYTES {
        return Some("it is empty or too long");
    }
    if path.contains(|character: char| character == '\\' || character.is_control()) {
        return Some("it has a backslash or a control character");
    }
    // What `Path` would take for the same as another path (`a//b`, `a/./b`, `a/`) is refused, too.
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Some("it is absolute, or has an empty part, '.' or '..'");
    }
    let components = Path::new(path).components();
    if components.clone().any(|component| !matches!(component, Component::Normal(_))) {
        return Some("it is not relative");
    }
    (components.count() > MAX_DEPTH).then_some("it is too deep")
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // A file that is there already was named twice.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Vec<(Name, Bytes)> {
        files
            .iter()
            .map(|(path, content)| (Name::from(*path), Bytes::copy_from_slice(content.as_bytes())))
            .collect()
    }

    #[test]
    fn files_lie_in_a_private_folder_until_they_are_dropped() {
        let space = OverrideSpace::new(100);
        let folder = space.write("m", &files(&[("1/model.onnx", "one"), ("labels.txt", "l")])).unwrap();
        let model = folder.model().to_owned();
        assert_eq!(fs::read(model.join("1/model.onnx")).unwrap(), b"one");
        assert_eq!(fs::read(model.join("labels.txt")).unwrap(), b"l");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(model.parent().unwrap()), 0o700);
        assert_eq!(mode(&model.join("labels.txt")), 0o600);
        drop(folder);
        assert!(!model.parent().unwrap().exists());
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let space = OverrideSpace::new(100);
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "1/../../x",
            "1/..",
            ".",
            "./x",
            "1//x",
            "1/",
            "..\\x",
            "C:\\x",
            "a\0b",
            "a\nb",
            "a/b/c/d/e/f/g/h/i",
            &"x".repeat(2000),
        ] {
            let error = space.write("m", &files(&[("1/ok", "x"), (path, "x")])).unwrap_err();
            assert!(matches!(error, OverrideError::Path { .. }), "{path:?}: {error}");
        }
        for name in ["", "..", "a/b", "/a", "a\\b"] {
            let error = space.write(name, &files(&[("1/ok", "x")])).unwrap_err();
            assert!(matches!(error, OverrideError::Path { .. }), "{name:?}: {error}");
        }
        for twice in [["1/x", "1/x"], ["1", "1/x"], ["1/x", "1"]] {
            let error = space.write("m", &files(&[(twice[0], "a"), (twice[1], "b")])).unwrap_err();
            assert!(matches!(error, OverrideError::Write { .. }), "{twice:?}: {error}");
        }
        assert_eq!(space.used_bytes.load(Ordering::Relaxed), 0, "what failed takes no room");
    }

    #[test]
    fn room_is_bounded_and_given_back() {
        let space = OverrideSpace::new(10);
        let one = space.write("m", &files(&[("1/x", "123456")])).unwrap();
        let error = space.write("n", &files(&[("1/x", "12345")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "5 bytes of files are more than there is room for (4 of 10 bytes are free)"
        );
        drop(one);
        space.write("n", &files(&[("1/x", "12345")])).unwrap();
        let many: Vec<(Name, Bytes)> =
            (0..1025).map(|index| (Name::from(format!("{index}")), Bytes::new())).collect();
        assert!(matches!(space.write("m", &many), Err(OverrideError::TooMany { count: 1025 })));
    }
}
