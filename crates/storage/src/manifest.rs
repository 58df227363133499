use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::listing::Object;

/// What a mirror holds, and what of: kept in a file beside it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The repository.
    pub(crate) url: String,
    /// Files and folders by their path in the mirror.
    pub(crate) entries: BTreeMap<PathBuf, Entry>,
}

/// A file in a mirror, or a folder that an object stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) size: u64,
    e_tag: Option<String>,
    /// In milliseconds since 1970.
    modified: u128,
    /// The file that was written; `None` for a folder.
    file: Option<Stamp>,
}

/// What tells a file from any other, and from what it was before somebody changed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        }
    }
}

impl Entry {
    /// What `path` is now, as a copy of `object`.
    pub(crate) fn of(object: &Object, path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            size: object.size,
            e_tag: object.e_tag.clone(),
            modified: milliseconds(object.modified),
            file: metadata.is_file().then(|| Stamp::from(&metadata)),
        })
    }

    /// Whether the object is still the one that this is a copy of.
    pub(crate) fn is_of(&self, object: &Object) -> bool {
        let same = match (&self.e_tag, &object.e_tag) {
            (Some(before), Some(now)) => before == now,
            _ => self.modified == milliseconds(object.modified),
        };
        same && self.size == object.size && self.file.is_none() == object.is_folder
    }

    /// Whether what is at `path` is still what was put there.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return false;
        };
        match &self.file {
            Some(stamp) => metadata.is_file() && Stamp::from(&metadata) == *stamp,
            None => metadata.is_dir(),
        }
    }
}

fn milliseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

impl Manifest {
    /// Reads the manifest of a repository. One that is not there, or cannot be understood, holds nothing.
    pub(crate) fn read(path: &Path, url: &str) -> Self {
        let empty = || Self { url: url.to_owned(), entries: BTreeMap::new() };
        let read = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        read.filter(|manifest| manifest.url == url).unwrap_or_else(empty)
    }

    /// Writes it, as a whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let part = path.with_extension("part");
        fs::write(&part, serde_json::to_vec(self)?)?;
        fs::rename(&part, path)
    }
}

#[cfg(test)]
mod tests;
