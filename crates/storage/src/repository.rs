use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use adulis_repository::{Mirrored, Problem, RemoteRepository};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::download::{Fetched, fetch};
use crate::listing::{Object, Wanted, list_all, list_named, list_names};
use crate::mirror::{Arrived, Mirror};
use crate::plan::{ModelPlan, plan, total_bytes};
use crate::requests::{Look, Requests};
use crate::runner::Runner;
use crate::{StorageError, StorageOptions, StorageUrl};

/// How often the log says how far a mirror has come.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A model repository in object storage, and its mirror. See [`crate::Storage::open`].
pub struct ObjectRepository {
    url: StorageUrl,
    requests: Arc<Requests>,
    options: StorageOptions,
    runner: Arc<Runner>,
    folder: PathBuf,
    mirror: Mutex<Mirror>,
    listed: Mutex<Option<Instant>>,
    known: Mutex<BTreeSet<String>>,
    closed: watch::Sender<bool>,
}

impl fmt::Debug for ObjectRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectRepository")
            .field("url", &self.url)
            .field("folder", &self.folder)
            .finish()
    }
}

impl ObjectRepository {
    pub(crate) fn new(
        url: StorageUrl,
        requests: Arc<Requests>,
        mirror: Mirror,
        runner: Arc<Runner>,
        options: StorageOptions,
    ) -> Self {
        Self {
            folder: mirror.cache.tree().to_owned(),
            mirror: Mutex::new(mirror),
            listed: Mutex::new(None),
            known: Mutex::default(),
            closed: watch::Sender::new(false),
            url,
            requests,
            options,
            runner,
        }
    }

    /// Waits for what storage answers, until the server stops or too much time has passed.
    fn ask<T, F>(&self, work: impl FnOnce(Look, StorageUrl) -> F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let (mut closed, limit) = (self.closed.subscribe(), self.options.mirror_timeout);
        let work = work(Look::new(&self.requests, limit), self.url.clone());
        let answer = self.runner.wait(async move {
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => Err(StorageError::Closed),
                answer = tokio::time::timeout(limit, work) => {
                    answer.unwrap_or(Err(StorageError::Timeout { limit }))
                }
            }
        });
        answer.unwrap_or(Err(StorageError::Closed))
    }

    fn names(&self) -> Result<BTreeSet<String>, StorageError> {
        let asked = Instant::now();
        let mut listed = self.listed.lock();
        // Whoever waited here meanwhile needs no listing of their own.
        if listed.is_some_and(|begun| begun > asked) {
            return Ok(self.known.lock().clone());
        }
        let begun = Instant::now();
        let listing = self.ask(|look, url| async move { list_names(&look, &url).await })?;
        *listed = Some(begun);
        self.known.lock().clone_from(&listing.names);
        Ok(listing.names)
    }

    fn update(&self, models: Mirrored<'_>) -> Result<Vec<Problem>, StorageError> {
        let started = Instant::now();
        let mut mirror = self.mirror.lock();
        let wanted = Wanted::from(models);
        let listing = self.ask(|look, url| async move {
            match wanted {
                Wanted::All => list_all(&look, &url).await,
                Wanted::Named(names) => list_named(&look, &url, &names).await,
            }
        })?;
        self.known.lock().clone_from(&listing.names);
        let (bytes, limit) = (total_bytes(&listing, &mirror.manifest, models), self.options.max_bytes);
        if bytes > limit {
            return Err(StorageError::Bytes { bytes, limit });
        }
        let plans = plan(&listing, &mirror.manifest, mirror.cache.tree(), models);
        if !plans.is_empty() {
            self.carry_out(&mut mirror, plans, started)?;
        }
        Ok(listing.notes)
    }

    /// Fetches what is to be fetched, and takes in each model when all of it is there.
    fn carry_out(
        &self,
        mirror: &mut Mirror,
        plans: BTreeMap<String, ModelPlan>,
        started: Instant,
    ) -> Result<(), StorageError> {
        let mut progress = Progress::begin(&self.url, &plans, started);
        let mut open: BTreeMap<String, Open> = BTreeMap::new();
        let mut wanted = Vec::new();
        for (model, plan) in plans {
            let mut arrived = Arrived { gone: plan.remove, files: Vec::new() };
            let (folders, files): (Vec<_>, Vec<_>) =
                plan.fetch.into_iter().partition(|(_, object)| object.is_folder);
            arrived.files.extend(folders.into_iter().map(|(path, object)| (path, object, None)));
            let missing = files.len();
            wanted.extend(files.into_iter().map(|(path, object)| (model.clone(), path, object)));
            if missing == 0 {
                mirror.take_in(&arrived)?;
                progress.model();
            } else {
                open.insert(model, Open { arrived, missing, is_stale: false });
            }
        }
        self.receive(mirror, wanted, open, &mut progress)?;
        mirror
            .cache
            .clear_incoming()
            .map_err(|error| StorageError::cache(mirror.cache.tree(), error))?;
        progress.end();
        Ok(())
    }

    fn receive(
        &self,
        mirror: &mut Mirror,
        wanted: Vec<(String, PathBuf, Object)>,
        mut open: BTreeMap<String, Open>,
        progress: &mut Progress<'_>,
    ) -> Result<(), StorageError> {
        let (sender, receiver) = mpsc::channel();
        let deadline = progress.started + self.options.mirror_timeout;
        let left = deadline.saturating_duration_since(Instant::now());
        let (look, incoming) = (Look::new(&self.requests, left), mirror.cache.incoming());
        let at_a_time = self.options.max_downloads.max(1);
        let task = async move {
            let fetches = stream::iter(wanted).map(|(model, path, object)| {
                let (look, incoming) = (look.clone(), incoming.clone());
                async move {
                    let fetched = fetch(&look, &object, &incoming).await;
                    (model, path, object, fetched)
                }
            });
            let mut fetches = fetches.buffer_unordered(at_a_time);
            while let Some(fetched) = fetches.next().await {
                if sender.send(fetched).is_err() {
                    return;
                }
            }
        };
        // It ends with this function: what has failed once is not gone on with.
        let _task = self.runner.spawn(task);
        loop {
            let (model, path, object, fetched) = match receiver.recv_timeout(PROGRESS_INTERVAL / 10) {
                Ok(fetched) => fetched,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    self.check_time(deadline)?;
                    progress.tell();
                    continue;
                }
            };
            let Some(of_model) = open.get_mut(&model) else {
                continue;
            };
            of_model.missing -= 1;
            match fetched? {
                Fetched::Changed => of_model.is_stale = true,
                Fetched::File(file) => {
                    progress.object(object.size);
                    of_model.arrived.files.push((path, object, Some(file)));
                }
            }
            if of_model.missing == 0
                && let Some(done) = open.remove(&model)
            {
                done.take_in(mirror, &model, progress)?;
            }
            self.check_time(deadline)?;
            progress.tell();
        }
    }

    fn check_time(&self, deadline: Instant) -> Result<(), StorageError> {
        if *self.closed.borrow() {
            return Err(StorageError::Closed);
        }
        if Instant::now() > deadline {
            return Err(StorageError::Timeout { limit: self.options.mirror_timeout });
        }
        Ok(())
    }
}

impl RemoteRepository for ObjectRepository {
    fn url(&self) -> &str {
        self.url.as_str()
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn list(&self) -> Result<BTreeSet<String>, Problem> {
        self.names().map_err(|error| error.problem(self.url.as_str()))
    }

    fn known(&self) -> BTreeSet<String> {
        self.known.lock().clone()
    }

    fn mirror(&self, models: Mirrored<'_>) -> Result<Vec<Problem>, Problem> {
        self.update(models).map_err(|error| error.problem(self.url.as_str()))
    }

    fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// A model of which not all has arrived.
struct Open {
    arrived: Arrived,
    missing: usize,
    /// Something of it was changed after the listing.
    is_stale: bool,
}

impl Open {
    fn take_in(
        self,
        mirror: &mut Mirror,
        model: &str,
        progress: &mut Progress<'_>,
    ) -> Result<(), StorageError> {
        if self.is_stale {
            tracing::info!(model, "is being changed in its repository: left as it is for now");
            return Ok(());
        }
        mirror.take_in(&self.arrived)?;
        progress.model();
        Ok(())
    }
}

/// What the log says meanwhile.
struct Progress<'a> {
    url: &'a StorageUrl,
    started: Instant,
    told: Instant,
    models: (usize, usize),
    objects: (usize, usize),
    bytes: (u64, u64),
}

impl<'a> Progress<'a> {
    fn begin(url: &'a StorageUrl, plans: &BTreeMap<String, ModelPlan>, started: Instant) -> Self {
        let files = || plans.values().flat_map(|plan| &plan.fetch).filter(|(_, object)| !object.is_folder);
        let bytes = files().map(|(_, object)| object.size).fold(0, u64::saturating_add);
        let (objects, models) = (files().count(), plans.len());
        tracing::info!(repository = %url, models, objects, bytes, "mirroring");
        Self {
            url,
            started,
            told: Instant::now(),
            models: (0, models),
            objects: (0, objects),
            bytes: (0, bytes),
        }
    }

    fn object(&mut self, bytes: u64) {
        self.objects.0 += 1;
        self.bytes.0 += bytes;
    }

    fn model(&mut self) {
        self.models.0 += 1;
    }

    fn tell(&mut self) {
        if self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            let (objects, of, bytes, of_bytes) = (self.objects.0, self.objects.1, self.bytes.0, self.bytes.1);
            tracing::info!(repository = %self.url, objects, of, bytes, of_bytes, "mirroring");
        }
    }

    fn end(&self) {
        let milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (models, objects, bytes) = (self.models.0, self.objects.0, self.bytes.0);
        tracing::info!(repository = %self.url, models, objects, bytes, milliseconds, "mirrored");
    }
}

#[cfg(test)]
mod tests;
