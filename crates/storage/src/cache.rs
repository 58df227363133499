use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::manifest::Manifest;
use crate::{StorageError, StorageUrl};

/// Servers on one machine that mirror the same repository into the same cache folder, at most.
const MAX_MIRRORS: usize = 64;

/// The ending of a file that is being written.
const PART: &str = "part";

/// The folder of one mirror, which is nobody else's while this lives.
///
/// ```text
/// <cache>/<name>-<digest of the URL>.<number>/
///   lock             held by the server that has the mirror
///   manifest.json    what is in `tree`
///   incoming/        what is being fetched, named by digest
///   tree/<name>/     what is scanned
/// ```
#[derive(Debug)]
pub(crate) struct Cache {
    home: PathBuf,
    tree: PathBuf,
    _lock: File,
}

impl Cache {
    /// Takes the first folder for this repository that no other server holds.
    pub(crate) fn open(cache: &Path, url: &StorageUrl) -> Result<Self, StorageError> {
        let base = format!("{}-{}", url.name(), &digest(&[url.as_str().as_bytes()])[..16]);
        make(cache).map_err(|error| StorageError::cache(cache, error))?;
        for number in 0..MAX_MIRRORS {
            let home = cache.join(format!("{base}.{number}"));
            let taken = Self::take(&home, url.name()).map_err(|error| StorageError::cache(&home, error))?;
            if let Some(taken) = taken {
                return Ok(taken);
            }
        }
        let all = io::Error::other(format!("{MAX_MIRRORS} servers mirror it there already"));
        Err(StorageError::cache(cache, all))
    }

    fn take(home: &Path, name: &str) -> io::Result<Option<Self>> {
        make(home)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(home.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let cache = Self { tree: home.join("tree").join(name), home: home.to_owned(), _lock: lock };
        make(&cache.tree)?;
        make(&cache.incoming())?;
        Ok(Some(cache))
    }

    /// The folder that is scanned.
    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.home.join("incoming")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.home.join("manifest.json")
    }

    /// Makes folder and manifest agree, whatever a crash has left: what is not in both is in neither afterwards. Files that
    /// were fetched as a whole and not taken in yet stay.
    pub(crate) fn recover(&self, url: &StorageUrl) -> io::Result<Manifest> {
        let mut manifest = Manifest::read(&self.manifest(), url.as_str());
        manifest.entries.retain(|path, entry| entry.is_at(&self.tree.join(path)));
        self.sweep(&self.tree, &manifest)?;
        for entry in fs::read_dir(self.incoming())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == PART) {
                fs::remove_file(path)?;
            }
        }
        Ok(manifest)
    }

    /// Removes all files below a folder that the manifest does not know, and folders that are empty then.
    fn sweep(&self, folder: &Path, manifest: &Manifest) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let inner = path.strip_prefix(&self.tree).unwrap_or(&path);
            let is_known = manifest.entries.contains_key(inner);
            if entry.file_type()?.is_dir() {
                self.sweep(&path, manifest)?;
                if !is_known {
                    // It stays if there is something in it.
                    let _ = fs::remove_dir(&path);
                }
            } else if !is_known {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes what was fetched for a look that is over.
    pub(crate) fn clear_incoming(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.incoming())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}

/// Where a file is written before it has its name.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    path.with_extension(PART)
}

/// The digest of some texts, each with its length, in hexadecimal.
pub(crate) fn digest(texts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a folder with all that it lies in, for this user only.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The folder for mirrors where none is set.
pub(crate) fn default_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("ADULIS_CACHE_DIR")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("adulis")))
        .or_else(|| Some(folder("HOME")?.join(".cache/adulis")))?;
    Some(cache.join("repositories"))
}

#[cfg(test)]
mod tests;
