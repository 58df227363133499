use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt};

use crate::StorageError;
use crate::cache::{digest, part_of};
use crate::listing::Object;

/// What came of fetching an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// It is in this file, whole, with its time.
    File(PathBuf),
    /// It is another one by now, or gone: to be listed again.
    Changed,
}

/// Fetches an object into a file below `incoming`. One that is there from an earlier time is taken as it is.
pub(crate) async fn fetch(
    store: &dyn ObjectStore,
    object: &Object,
    incoming: &Path,
) -> Result<Fetched, StorageError> {
    let file = incoming.join(file_name(object));
    if fs::metadata(&file).is_ok_and(|metadata| metadata.len() == object.size) {
        return Ok(Fetched::File(file));
    }
    let condition = GetOptions { if_match: object.e_tag.clone(), ..GetOptions::default() };
    let answer = match store.get_opts(&object.key, condition).await {
        // Some servers do not compare tags as they write them.
        Err(Error::Precondition { .. }) if is_unchanged(store, object).await? => store.get(&object.key).await,
        answer => answer,
    };
    let answer = match answer {
        Err(Error::Precondition { .. } | Error::NotFound { .. }) => return Ok(Fetched::Changed),
        answer => answer?,
    };
    if answer.meta.size != object.size {
        return Ok(Fetched::Changed);
    }
    let part = part_of(&file);
    let written = write(answer.into_stream(), &part).await?;
    if written != object.size {
        let (key, listed) = (object.key.to_string(), object.size);
        return Err(StorageError::Size { key, listed, actual: written });
    }
    // Here and not on a thread for such things: a task that was ended must not go on writing there.
    let finished = tokio::task::block_in_place(|| finish(&part, &file, object));
    finished.map_err(|error| StorageError::cache(&part, error))?;
    Ok(Fetched::File(file))
}

/// Whether an object is the one that was listed.
async fn is_unchanged(store: &dyn ObjectStore, object: &Object) -> Result<bool, StorageError> {
    match store.head(&object.key).await {
        Ok(now) => Ok(now.e_tag == object.e_tag && now.size == object.size),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn write(
    mut chunks: futures_util::stream::BoxStream<'static, object_store::Result<bytes::Bytes>>,
    part: &Path,
) -> Result<u64, StorageError> {
    let failed = |error: io::Error| StorageError::cache(part, error);
    let mut file = File::create(part).map_err(failed)?;
    let mut written = 0;
    while let Some(chunk) = chunks.try_next().await? {
        file.write_all(&chunk).map_err(failed)?;
        written += chunk.len() as u64;
    }
    Ok(written)
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
