use std::io;
use std::path::Path;
use std::sync::Arc;

use adulis_repository::Problem;
use adulis_telemetry::StorageMetrics;
use parking_lot::Mutex;

use crate::cache::default_folder;
use crate::connect::connect;
use crate::mirror::Mirror;
use crate::requests::{Requests, Store};
use crate::runner::Runner;
use crate::{ObjectRepository, StorageError, StorageOptions, StorageUrl};

/// Opens repositories, which share two threads. There is none before the first.
#[derive(Debug, Default)]
pub struct Storage {
    options: StorageOptions,
    metrics: StorageMetrics,
    runner: Mutex<Option<Arc<Runner>>>,
}

impl Storage {
    /// With these options, for all repositories.
    #[must_use]
    pub fn new(options: StorageOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Has what is asked of them counted.
    #[must_use]
    pub fn metrics(self, metrics: StorageMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Whether a URL is one that [`Storage::open`] could open. Nothing is asked, made or locked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(url: &str) -> Result<(), Problem> {
        let read = url.parse::<StorageUrl>().map_err(StorageError::from);
        read.map(drop).map_err(|error| error.problem(&shown(url)))
    }

    /// Opens the repository that a URL names, and takes a folder for its mirror. Nothing is asked yet, and nothing fetched.
    ///
    /// # Errors
    /// What is wrong with the URL, the settings or the folder. It does not repeat what may be a secret.
    pub fn open(&self, url: &str) -> Result<ObjectRepository, Problem> {
        let named = url.parse::<StorageUrl>().map_err(StorageError::from);
        let named = named.map_err(|error| error.problem(&shown(url)))?;
        let opened = connect(&named, &self.options).and_then(|store| self.open_store(named.clone(), store));
        opened.map_err(|error| error.problem(named.as_str()))
    }

    /// Opens what `store` holds as the repository that a URL names.
    pub(crate) fn open_store(
        &self,
        url: StorageUrl,
        store: Arc<dyn Store>,
    ) -> Result<ObjectRepository, StorageError> {
        let folder = self.options.cache_folder.clone().or_else(default_folder);
        let Some(folder) = folder else {
            let none = io::Error::other("neither ADULIS_CACHE_DIR nor XDG_CACHE_HOME nor HOME is set");
            return Err(StorageError::cache(Path::new(""), none));
        };
        let runner = self.runner().map_err(StorageError::Thread)?;
        let mirror = Mirror::open(&folder, &url)?;
        let requests = Requests::new(url.clone(), store, &self.options, &self.metrics);
        Ok(ObjectRepository::new(url, requests, mirror, runner, self.options.clone()))
    }

    fn runner(&self) -> io::Result<Arc<Runner>> {
        let mut shared = self.runner.lock();
        if let Some(runner) = &*shared {
            return Ok(Arc::clone(runner));
        }
        let runner = Arc::new(Runner::new()?);
        *shared = Some(Arc::clone(&runner));
        Ok(runner)
    }
}

/// A URL that may hold a secret, without it.
fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    match (url[..end].split_once("://"), url[..end].rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url[..end].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_is_no_secret() {
        assert_eq!(shown("s3://key:secret@bucket/x"), "s3://…@bucket/x");
        assert_eq!(shown("as://account/container?sig=secret"), "as://account/container");
        assert_eq!(shown("http://host/x"), "http://host/x");
    }

    #[test]
    fn urls_and_folders_that_do_not_work_are_problems() {
        let storage = Storage::default();
        let problem = storage.open("s3://key:secret@bucket/x").unwrap_err();
        let text = problem.to_string();
        assert!(text.contains("must not hold credentials") && !text.contains("secret"), "{text}");
        let options =
            StorageOptions { cache_folder: Some("/dev/null/x".into()), ..StorageOptions::default() };
        let text = Storage::new(options).open("s3://bucket/x").unwrap_err().to_string();
        assert!(
            text.starts_with("s3://bucket/x: the folder for its mirror")
                && text.contains("storage.cache_folder"),
            "{text}"
        );
    }
}
