use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::scan::version_of;

/// What is looked at of one model, at most: beyond it, changes go unseen.
const MAX_FILES: usize = 1 << 16;

/// How deep folders may lie in one another, at most. A link that leads in circles ends here.
const MAX_DEPTH: usize = 16;

/// What a model's files look like from outside. It differs after any of them was written, replaced, added or removed, and
/// says which versions are concerned. File contents are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of what all versions share: the configuration, labels, warm-up data.
    shared: u64,
    /// Of each version's folder.
    versions: BTreeMap<u64, u64>,
    newest: SystemTime,
}

impl Fingerprint {
    /// Looks at a model's folder, or at its only file.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self::look(path, false)
    }

    /// The same for a model of a repository that is mirrored: the newest change is the one that was made there. Mirrored files
    /// have the times of what they mirror.
    #[must_use]
    pub fn of_mirrored(path: &Path) -> Self {
        Self::look(path, true)
    }

    fn look(path: &Path, mirrored: bool) -> Self {
        let mut look = Look { files: 0, newest: UNIX_EPOCH, mirrored };
        let (mut shared, mut versions) = (DefaultHasher::new(), BTreeMap::new());
        look.file(path, &mut shared);
        for (name, path) in entries(path) {
            let version = version_of(&name).filter(|_| path.is_dir());
            let mut digest = DefaultHasher::new();
            look.tree(&path, 1, &mut digest);
            match version {
                Some(version) => drop(versions.insert(version, digest.finish())),
                None => (name, digest.finish()).hash(&mut shared),
            }
        }
        Self { shared: shared.finish(), versions, newest: look.newest }
    }

    /// When the newest change was made, as the file system tells it.
    #[must_use]
    pub fn newest(&self) -> SystemTime {
        self.newest
    }

    /// The part of this fingerprint that matters to one version: its own files, and what all versions share.
    #[must_use]
    pub fn version(&self, version: u64) -> VersionFingerprint {
        VersionFingerprint { shared: self.shared, own: self.versions.get(&version).copied() }
    }

    /// One for two places of one model.
    pub(crate) fn joined(self, other: &Self) -> Self {
        let mut shared = DefaultHasher::new();
        (self.shared, &self.versions, other.shared, &other.versions).hash(&mut shared);
        Self {
            shared: shared.finish(),
            versions: BTreeMap::new(),
            newest: self.newest.max(other.newest),
        }
    }
}

/// A [`Fingerprint`]'s part that matters to one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionFingerprint {
    shared: u64,
    own: Option<u64>,
}

struct Look {
    files: usize,
    newest: SystemTime,
    mirrored: bool,
}

impl Look {
    fn tree(&mut self, path: &Path, depth: usize, digest: &mut DefaultHasher) {
        let is_folder = self.file(path, digest);
        if !is_folder || depth == MAX_DEPTH {
            return;
        }
        for (name, path) in entries(path) {
            if self.files >= MAX_FILES {
                return;
            }
            name.hash(digest);
            self.tree(&path, depth + 1, digest);
        }
    }

    /// Takes one file or folder in, following links; tells whether it is a folder.
    fn file(&mut self, path: &Path, digest: &mut DefaultHasher) -> bool {
        self.files += 1;
        match fs::metadata(path) {
            Err(error) => error.raw_os_error().hash(digest),
            Ok(metadata) => {
                match (self.mirrored, metadata.is_dir()) {
                    (false, _) => self.newest = self.newest.max(changed(&metadata)),
                    (true, true) => {}
                    (true, false) => self.newest = self.newest.max(metadata.modified().unwrap_or(UNIX_EPOCH)),
                }
                (metadata.dev(), metadata.ino()).hash(digest);
                if metadata.is_dir() {
                    return true;
                }
                let modified = (metadata.mtime(), metadata.mtime_nsec());
                let changed = (metadata.ctime(), metadata.ctime_nsec());
                (metadata.len(), modified, changed).hash(digest);
            }
        }
        false
    }
}

/// The later of modification and change: the first is kept when files are copied with their times, the second is not.
fn changed(metadata: &Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
    let changed = UNIX_EPOCH + Duration::new(seconds, nanoseconds.min(999_999_999));
    metadata.modified().unwrap_or(changed).max(changed)
}

/// What is in a folder, hidden entries left out, by name. Nothing for a file, and for what cannot be read.
fn entries(path: &Path) -> Vec<(String, std::path::PathBuf)> {
    let found = fs::read_dir(path).into_iter().flatten().flatten();
    let named = found.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    let mut entries: Vec<_> = named.filter(|(name, _)| !name.starts_with('.')).take(MAX_FILES).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests;
