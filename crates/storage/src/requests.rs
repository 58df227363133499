use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use adulis_retry::{BackoffOptions, BreakerState, CallCounts, CallError, Calls, Fault, Retries, RetryBudget};
use adulis_telemetry::{StorageGauges, StorageMetrics, StorageOperation};
use object_store::ObjectStore;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::{DELIMITER, Path as ObjectKey};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Failure;
use crate::{StorageError, StorageOptions, StorageUrl};

/// Pauses between attempts.
const PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(100), max_delay: Duration::from_secs(15) };

/// What storage is asked through: the library's clients, none of which tries anything again by itself.
pub(crate) trait Store: ObjectStore + PaginatedListStore {}

impl<S: ObjectStore + PaginatedListStore> Store for S {}

/// All that is asked of one repository's storage: what fails for something that passes is asked again, within a budget, and while
/// the storage is down, nothing is.
pub(crate) struct Requests {
    store: Arc<dyn Store>,
    url: StorageUrl,
    calls: Calls,
    list: StorageOperation,
    get: StorageOperation,
    down: Mutex<Option<Down>>,
}

/// It was not well when it was last asked.
struct Down {
    reason: String,
    is_told: bool,
}

impl Requests {
    pub(crate) fn new(
        url: StorageUrl,
        store: Arc<dyn Store>,
        options: &StorageOptions,
        metrics: &StorageMetrics,
    ) -> Arc<Self> {
        let max_retries = u32::try_from(options.max_retries).unwrap_or(u32::MAX);
        let retries = Retries::new(PAUSES).at_most(max_retries).within(Arc::new(RetryBudget::default()));
        let requests = Arc::new(Self {
            store,
            calls: Calls::new(retries, options.breaker.clone()),
            list: metrics.operation(url.as_str(), "list"),
            get: metrics.operation(url.as_str(), "get"),
            down: Mutex::new(None),
            url,
        });
        let observed = Arc::downgrade(&requests);
        metrics.observe(requests.url.as_str(), move || {
            observed.upgrade().map(|requests| requests.gauges()).unwrap_or_default()
        });
        requests
    }

    fn gauges(&self) -> StorageGauges {
        let CallCounts { retries, refused, openings } = self.calls.counts();
        StorageGauges { retries, refused, openings, breaker: self.calls.state().number() }
    }

    async fn call<T, F>(
        &self,
        operation: &StorageOperation,
        until: Instant,
        attempt: impl FnMut() -> F,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let begun = Instant::now();
        let outcome = match self.calls.call(until, attempt, |failure: &Failure| failure.fault).await {
            Ok(value) => Ok(value),
            Err(CallError::Failed(failure)) => Err(failure),
            Err(CallError::Open) => {
                let reason = self.down.lock().as_ref().map(|down| down.reason.clone());
                return Err(StorageError::Down { reason: reason.unwrap_or_default() });
            }
        };
        operation.latency.observe(begun.elapsed());
        match &outcome {
            Err(Failure { error, fault: Fault::Down | Fault::Passing }) => self.is_down(error),
            _ => self.is_well(),
        }
        outcome.map_err(|failure| {
            operation.errors.inc();
            failure.error
        })
    }

    fn is_well(&self) {
        if self.down.lock().take().is_some_and(|down| down.is_told) {
            tracing::info!(repository = %self.url, "storage answers again");
        }
    }

    /// Told once, and by whoever asks for something that fails for it.
    fn is_down(&self, error: &StorageError) {
        let mut down = self.down.lock();
        let was_told = down.as_ref().is_some_and(|down| down.is_told);
        let is_told = self.calls.state() != BreakerState::Closed;
        if is_told && !was_told {
            tracing::warn!(repository = %self.url, reason = %error, "storage is down: it is left alone for a while");
        }
        *down = Some(Down { reason: error.to_string(), is_told: is_told || was_told });
    }
}

/// What may be asked during one look at a repository, and until when.
#[derive(Clone)]
pub(crate) struct Look {
    requests: Arc<Requests>,
    until: Instant,
}

impl Look {
    pub(crate) fn new(requests: &Arc<Requests>, limit: Duration) -> Self {
        let now = Instant::now();
        let until = now.checked_add(limit).unwrap_or(now);
        Self { requests: Arc::clone(requests), until }
    }

    /// One page of the objects below a prefix: of all, or of those that lie in no further folder, and the folders.
    pub(crate) async fn list(
        &self,
        prefix: &ObjectKey,
        by_folder: bool,
        token: Option<&str>,
    ) -> Result<PaginatedListResult, StorageError> {
        let prefix = (!prefix.is_root()).then(|| format!("{prefix}{DELIMITER}"));
        let (store, prefix) = (&self.requests.store, prefix.as_deref());
        let attempt = || {
            let options = PaginatedListOptions {
                delimiter: by_folder.then_some(DELIMITER.into()),
                page_token: token.map(str::to_owned),
                ..PaginatedListOptions::default()
            };
            async move { Ok(store.list_paginated(prefix, options).await?) }
        };
        self.requests.call(&self.requests.list, self.until, attempt).await
    }

    /// Something of an object, by these attempts.
    pub(crate) async fn get<'a, T, F>(
        &'a self,
        mut attempt: impl FnMut(&'a dyn Store) -> F,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let attempt = || attempt(&*self.requests.store);
        self.requests.call(&self.requests.get, self.until, attempt).await
    }
}

#[cfg(test)]
mod tests;
