use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::{MODEL_FILE, model};
use crate::{ConfigFormat, Problem};

/// What is in a folder, hidden entries left out, by name.
pub(super) struct Folder {
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) kind: Kind,
}

/// What an entry is; of a link, what it leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Other,
}

impl Folder {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        #[cfg(test)]
        super::tests::listed();
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let mut kind = entry.file_type()?;
            if kind.is_symlink() {
                // A link that leads nowhere is kept: the model that it belongs to says so.
                match fs::metadata(entry.path()) {
                    Ok(target) => kind = target.file_type(),
                    Err(_) => {
                        entries.push(Entry { name, kind: Kind::File });
                        continue;
                    }
                }
            }
            let kind = match (kind.is_file(), kind.is_dir()) {
                (true, _) => Kind::File,
                (_, true) => Kind::Folder,
                _ => Kind::Other,
            };
            entries.push(Entry { name, kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { entries })
    }

    /// The versions that have a folder, ascending.
    pub(super) fn versions(&self) -> Vec<u64> {
        let folders = self.entries.iter().filter(|entry| entry.kind == Kind::Folder);
        let mut versions: Vec<u64> = folders.filter_map(|entry| version_of(entry.name.to_str()?)).collect();
        versions.sort_unstable();
        versions
    }

    /// Whether a file or folder of that name is there. Pipes and devices do not count: to open one may block for ever.
    pub(super) fn has(&self, name: &str) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.name == name && entry.kind != Kind::Other)
    }

    /// Whether this folder is one model's.
    pub(super) fn is_model(&self) -> bool {
        let configured = ConfigFormat::ALL.into_iter().any(|format| self.has(format.file_name()));
        configured || self.has(MODEL_FILE) || !self.versions().is_empty()
    }

    /// Whether nothing in this folder looks like a model, whole or broken.
    pub(super) fn holds_nothing(&self) -> bool {
        let model_file = |entry: &Entry| model::is_model_file(Path::new(&entry.name));
        !self.is_model() && !self.entries.iter().any(model_file)
    }

    /// The only model file, where there is one.
    pub(super) fn only_model_file(&self) -> Option<&str> {
        let mut files = self.entries.iter().filter(|entry| model::is_model_file(Path::new(&entry.name)));
        let only = files.next()?;
        files.next().is_none().then(|| only.name.to_str()).flatten()
    }
}

/// The version that a folder's name says: a positive whole number without leading zeros.
pub(crate) fn version_of(name: &str) -> Option<u64> {
    let digits = !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
    // The schema counts versions in i64.
    digits
        .then(|| name.parse::<i64>().ok())
        .flatten()
        .and_then(|version| u64::try_from(version).ok())
}

/// What is wrong with a path that is, or may be, a link: it leads out of `root`, or nowhere.
pub(super) fn link_fault(path: &Path, root: &Path) -> Option<Problem> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if !is_link {
        return None;
    }
    match path.canonicalize() {
        Ok(target) if target.starts_with(root) => None,
        Ok(_) => Some(
            Problem::of_path(path, "is a link that leads out of the repository")
                .remedy("copy what it leads to into the repository, or name the model on the command line"),
        ),
        Err(error) => Some(Problem::of_path(path, format!("is a link that cannot be followed: {error}"))),
    }
}
