//! An object store for tests: in memory, with faults on demand. `adulis-testing` has one over HTTP.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adulis_telemetry::StorageMetrics;
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use crate::requests::{Look, Requests};
use crate::{ObjectRepository, Storage, StorageOptions};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody answers.
    Down,
    /// A listing breaks off after its first object.
    ListingBreaksOff,
    /// The body of this object breaks off in the middle.
    BodyBreaksOff(&'static str),
    /// The body of this object is shorter than it says.
    BodyIsShort(&'static str),
    /// The body of this object never comes.
    Hangs(&'static str),
    /// This object was replaced after it was listed.
    Replaced(&'static str),
    /// This object is gone since it was listed.
    Gone(&'static str),
    /// Conditions are refused, whatever they are.
    NoConditions,
}

/// A store in memory that fails as it is told, and counts.
#[derive(Debug, Default)]
pub(crate) struct Faulty {
    pub(crate) inner: InMemory,
    faults: Mutex<Vec<Fault>>,
    pub(crate) fetched: Mutex<Vec<String>>,
    at_a_time: AtomicUsize,
    pub(crate) most_at_a_time: AtomicUsize,
}

impl Faulty {
    pub(crate) fn set(&self, faults: &[Fault]) {
        *self.faults.lock() = faults.to_vec();
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.lock().contains(&fault)
    }

    fn answer(&self) -> Result<()> {
        if self.has(Fault::Down) { Err(broken("connection refused")) } else { Ok(()) }
    }

    /// What has been fetched since this was asked last.
    pub(crate) fn take_fetched(&self) -> Vec<String> {
        let mut fetched = std::mem::take(&mut *self.fetched.lock());
        fetched.sort();
        fetched
    }
}

/// As the library says it of a connection.
fn broken(reason: &'static str) -> Error {
    let source = HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other(reason));
    Error::Generic { store: "test", source: source.into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

/// Counts while it lives.
struct AtATime<'a>(&'a Faulty);

impl Drop for AtATime<'_> {
    fn drop(&mut self) {
        self.0.at_a_time.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.answer()?;
        if options.head {
            return self.inner.get_opts(key, options).await;
        }
        let now = self.at_a_time.fetch_add(1, Ordering::Relaxed) + 1;
        let _counted = AtATime(self);
        self.most_at_a_time.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.fetched.lock().push(key.to_string());
        let faults = self.faults.lock().clone();
        let is = |name: &str| key.as_ref().ends_with(name);
        for fault in &faults {
            match fault {
                Fault::NoConditions if options.if_match.is_some() => {
                    return Err(Error::Precondition {
                        path: key.to_string(),
                        source: "no conditions".into(),
                    });
                }
                Fault::Hangs(name) if is(name) => std::future::pending().await,
                Fault::Replaced(name) if is(name) => {
                    drop(self.inner.put(key, "replaced".into()).await?);
                }
                Fault::Gone(name) if is(name) => self.inner.delete(key).await?,
                _ => {}
            }
        }
        let mut answer = self.inner.get_opts(key, options).await?;
        for fault in faults {
            match fault {
                Fault::BodyBreaksOff(name) if is(name) => {
                    let chunks = [Ok("".into()), Err(broken("connection reset"))];
                    answer.payload = GetResultPayload::Stream(stream::iter(chunks).boxed());
                }
                Fault::BodyIsShort(name) if is(name) => {
                    answer.payload = GetResultPayload::Stream(stream::empty().boxed());
                }
                _ => {}
            }
        }
        Ok(answer)
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl PaginatedListStore for Faulty {
    /// All on one page, or the first object on it and no second page.
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        self.answer()?;
        if options.page_token.is_some() {
            return Err(broken("connection reset"));
        }
        let prefix = prefix.map(|prefix| Key::parse(prefix).unwrap());
        let mut result = match options.delimiter {
            Some(_) => self.inner.list_with_delimiter(prefix.as_ref()).await?,
            None => ListResult {
                objects: self.inner.list(prefix.as_ref()).try_collect().await?,
                common_prefixes: Vec::new(),
                extensions: Extensions::new(),
            },
        };
        let breaks_off = self.has(Fault::ListingBreaksOff);
        if breaks_off {
            result.objects.truncate(1);
        }
        Ok(PaginatedListResult { result, page_token: breaks_off.then(|| "more".to_owned()) })
    }
}

/// A bucket with models, and the cache folder of whoever mirrors it.
pub(crate) struct Bucket {
    pub(crate) store: Arc<Faulty>,
    pub(crate) cache: tempfile::TempDir,
    pub(crate) options: StorageOptions,
    runtime: tokio::runtime::Runtime,
}

impl Bucket {
    /// With these objects below `models/`, each of which holds its key.
    pub(crate) fn new(keys: &[&str]) -> Self {
        let bucket = Self {
            store: Arc::default(),
            cache: tempfile::tempdir().unwrap(),
            options: StorageOptions { max_retries: 1, ..StorageOptions::default() },
            runtime: tokio::runtime::Runtime::new().unwrap(),
        };
        keys.iter().for_each(|key| bucket.put(key, key));
        bucket
    }

    pub(crate) fn put(&self, key: &str, content: &str) {
        let key = Key::parse(format!("models/{key}")).unwrap();
        self.runtime.block_on(self.store.inner.put(&key, content.to_owned().into())).unwrap();
    }

    pub(crate) fn delete(&self, key: &str) {
        let key = Key::parse(format!("models/{key}")).unwrap();
        self.runtime.block_on(self.store.inner.delete(&key)).unwrap();
    }

    /// Opens it as a server that begins anew would.
    pub(crate) fn open(&self) -> ObjectRepository {
        self.open_at("s3://bucket/models")
    }

    pub(crate) fn open_at(&self, url: &str) -> ObjectRepository {
        let options =
            StorageOptions { cache_folder: Some(self.cache.path().to_owned()), ..self.options.clone() };
        let storage = Storage::new(options);
        storage.open_store(url.parse().unwrap(), Arc::clone(&self.store) as _).unwrap()
    }

    /// What a repository asks during a look.
    pub(crate) fn look(&self) -> Look {
        let url = "s3://bucket/models".parse().unwrap();
        let store = Arc::clone(&self.store) as _;
        let requests = Requests::new(url, store, &self.options, &StorageMetrics::default());
        Look::new(&requests, Duration::from_secs(60))
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// All files and empty folders below a folder, with what they hold: `a/b = text`, `a/c/`.
pub(crate) fn tree(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        let mut is_empty = true;
        for entry in std::fs::read_dir(&inner).unwrap() {
            let path = entry.unwrap().path();
            is_empty = false;
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display();
                found.insert(format!("{name} = {}", std::fs::read_to_string(&path).unwrap()));
            }
        }
        if is_empty && inner != folder {
            found.insert(format!("{}/", inner.strip_prefix(folder).unwrap().display()));
        }
    }
    found
}
