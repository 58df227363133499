use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use adulis_retry::Fault;
use futures_util::TryStreamExt;
use object_store::{Error, GetOptions, GetRange, GetResult, ObjectStoreExt};

use crate::StorageError;
use crate::cache::{digest, part_of};
use crate::error::{Failure, fault};
use crate::listing::Object;
use crate::requests::{Look, Store};

/// What came of fetching an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// It is in this file, whole, with its time.
    File(PathBuf),
    /// It is another one by now, or gone: to be listed again.
    Changed,
}

/// Fetches an object into a file below `incoming`. One that is there from an earlier time is taken as it is; what is there of one
/// is gone on with.
pub(crate) async fn fetch(look: &Look, object: &Object, incoming: &Path) -> Result<Fetched, StorageError> {
    let file = incoming.join(file_name(object));
    if fs::metadata(&file).is_ok_and(|metadata| metadata.len() == object.size) {
        return Ok(Fetched::File(file));
    }
    let part = Part { path: part_of(&file), object, goes_on: AtomicBool::new(object.e_tag.is_some()) };
    if !look.get(|store| part.fetch(store)).await? {
        return Ok(Fetched::Changed);
    }
    // Here and not on a thread for such things: a task that was ended must not go on writing there.
    let finished = tokio::task::block_in_place(|| finish(&part.path, &file, object));
    finished.map_err(|error| StorageError::cache(&part.path, error))?;
    Ok(Fetched::File(file))
}

/// The file that an object is written to until all of it is there.
struct Part<'a> {
    path: PathBuf,
    object: &'a Object,
    /// Whether what is there can be gone on with: the object has a tag that tells it from others, and the server can begin in the
    /// middle.
    goes_on: AtomicBool,
}

impl Part<'_> {
    /// Fetches what is missing. `false`: the object is another one by now, or gone.
    async fn fetch(&self, store: &dyn Store) -> Result<bool, Failure> {
        let mut start = self.start();
        if start > 0 && start == self.object.size {
            return Ok(true);
        }
        let mut answer = self.ask(store, start).await;
        if start > 0 && !self.is_rest(&answer) {
            self.goes_on.store(false, Ordering::Relaxed);
            start = 0;
            answer = self.ask(store, start).await;
        }
        let answer = match answer {
            Err(Error::Precondition { .. } | Error::NotFound { .. }) => return Ok(false),
            answer => answer?,
        };
        if answer.meta.size != self.object.size {
            return Ok(false);
        }
        self.write(answer, start).await?;
        Ok(true)
    }

    /// Whether this is, or would have been, the rest of what was listed. It is not where a server cannot begin in the middle, or
    /// tells another tag.
    fn is_rest(&self, answer: &object_store::Result<GetResult>) -> bool {
        match answer {
            Ok(answer) => answer.meta.e_tag == self.object.e_tag,
            Err(error @ Error::Generic { .. }) => fault(error) == Fault::Passing,
            Err(_) => true,
        }
    }

    /// How much is there.
    fn start(&self) -> u64 {
        let there = || fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        if self.goes_on.load(Ordering::Relaxed) { there() } else { 0 }
    }

    async fn ask(&self, store: &dyn Store, start: u64) -> object_store::Result<GetResult> {
        let range = (start > 0).then_some(GetRange::Offset(start));
        let options = GetOptions { range, if_match: self.object.e_tag.clone(), ..GetOptions::default() };
        let unconditional = GetOptions { if_match: None, ..options.clone() };
        match store.get_opts(&self.object.key, options).await {
            // Some servers do not compare tags as they write them.
            Err(Error::Precondition { .. }) if self.is_unchanged(store).await? => {
                store.get_opts(&self.object.key, unconditional).await
            }
            answer => answer,
        }
    }

    /// Whether the object is the one that was listed.
    async fn is_unchanged(&self, store: &dyn Store) -> object_store::Result<bool> {
        match store.head(&self.object.key).await {
            Ok(now) => Ok(now.e_tag == self.object.e_tag && now.size == self.object.size),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds what comes to what is there up to `start`.
    async fn write(&self, answer: GetResult, start: u64) -> Result<(), Failure> {
        let failed = |error: io::Error| StorageError::cache(&self.path, error);
        let file = if start > 0 {
            File::options().append(true).open(&self.path)
        } else {
            File::create(&self.path)
        };
        let (mut file, mut written) = (file.map_err(failed)?, start);
        let mut chunks = answer.into_stream();
        while let Some(chunk) = chunks.try_next().await? {
            written += chunk.len() as u64;
            if written > self.object.size {
                return Err(self.size(written).into());
            }
            file.write_all(&chunk).map_err(failed)?;
        }
        if written < self.object.size {
            return Err(Failure { error: self.size(written), fault: Fault::Passing });
        }
        Ok(())
    }

    fn size(&self, actual: u64) -> StorageError {
        StorageError::Size { key: self.object.key.to_string(), listed: self.object.size, actual }
    }
}

/// Gives a file its time and its name. It is on the disk before that: after a power failure its size would tell nothing.
fn finish(part: &Path, file: &Path, object: &Object) -> io::Result<()> {
    let written = File::options().write(true).open(part)?;
    written.set_modified(object.modified)?;
    written.sync_all()?;
    fs::rename(part, file)
}

/// A name that only this content of this object has.
fn file_name(object: &Object) -> String {
    let modified = format!("{:?}", object.modified);
    let e_tag = object.e_tag.as_deref().unwrap_or_default();
    digest(&[
        object.key.as_ref().as_bytes(),
        e_tag.as_bytes(),
        modified.as_bytes(),
        &object.size.to_le_bytes(),
    ])
}
