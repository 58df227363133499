use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::listing::Object;
use crate::manifest::{Entry, Manifest};
use crate::{StorageError, StorageUrl};

/// A mirror's folder and what is known to be in it.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) cache: Cache,
    pub(crate) manifest: Manifest,
}

/// A model's objects that have all been fetched, and what is gone of it.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Path in the mirror, object, and the file that was fetched; `None` for a folder.
    pub(crate) files: Vec<(PathBuf, Object, Option<PathBuf>)>,
    /// Paths in the mirror.
    pub(crate) gone: Vec<PathBuf>,
}

impl Mirror {
    /// Takes a folder in the cache folder, and puts right what a crash may have left.
    pub(crate) fn open(cache_folder: &Path, url: &StorageUrl) -> Result<Self, StorageError> {
        let cache = Cache::open(cache_folder, url)?;
        let manifest = cache.recover(url).map_err(|error| StorageError::cache(cache.tree(), error))?;
        Ok(Self { cache, manifest })
    }

    /// Takes a model in, as a whole. If that fails in the middle, the next [`Mirror::open`] or plan sees it.
    pub(crate) fn take_in(&mut self, arrived: &Arrived) -> Result<(), StorageError> {
        let done = self.try_take_in(arrived);
        done.map_err(|error| StorageError::cache(self.cache.tree(), error))
    }

    fn try_take_in(&mut self, arrived: &Arrived) -> io::Result<()> {
        for path in &arrived.gone {
            // Without it, whatever happens then is found at the next look.
            self.manifest.entries.remove(path);
            self.remove(path)?;
        }
        for (path, object, fetched) in &arrived.files {
            let target = self.cache.tree().join(path);
            self.manifest.entries.remove(path);
            match fetched {
                None => fs::create_dir_all(&target)?,
                Some(fetched) => {
                    fs::create_dir_all(target.parent().unwrap_or(&target))?;
                    if target.is_dir() {
                        fs::remove_dir_all(&target)?;
                    }
                    fs::rename(fetched, &target)?;
                }
            }
            self.manifest.entries.insert(path.clone(), Entry::of(object, &target)?);
        }
        self.manifest.write(&self.cache.manifest())
    }

    /// Removes a file or folder, and the folders that are empty then. What somebody else put into them stays.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let target = self.cache.tree().join(path);
        let removed = if target.is_dir() { fs::remove_dir(&target) } else { fs::remove_file(&target) };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => removed?,
        }
        for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            let is_known = self.manifest.entries.contains_key(folder);
            if is_known || fs::remove_dir(self.cache.tree().join(folder)).is_err() {
                break;
            }
        }
        Ok(())
    }
}
