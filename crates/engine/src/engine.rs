use std::collections::BTreeMap;
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use adulis_backend::Backend;
use adulis_repository::{ModelEntry, Scan};
use adulis_telemetry::{MetricRegistry, ServingMetrics};
use adulis_types::{
    BoxFuture, CacheControl, Fault, IndexEntry, IndexQuery, InferRequest, InferResponse, InferenceService,
    LoadModel, ModelConfigDocument, ModelMetadata, ModelRef, ModelStatistics, ResponseStream, ServerMetadata,
    ServiceError, UnloadModel, one_response,
};
use futures_util::StreamExt;

use crate::caching::CacheAdmin;
use crate::executor::Executor;
use crate::lifecycle::Lifecycle;
use crate::serving::ServingModel;
use crate::settings::or_cores;
use crate::source::Source;
use crate::table::Models;
use crate::{EngineError, Settings, effective};

/// Protocol extensions that are spoken.
const EXTENSIONS: [&str; 9] = [
    "classification",
    "binary_tensor_data",
    "model_configuration",
    "schedule_policy",
    "sequence",
    "parameters",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
];

/// Models, their queues, and the threads that execute them: the [`InferenceService`] that the frontends serve.
pub struct Engine {
    lifecycle: Arc<Lifecycle>,
    executor: Arc<Executor>,
    metrics: ServingMetrics,
    /// Whether [`Engine::start`] is done, or there is nothing to start with.
    started: AtomicBool,
    /// Calls of [`Engine::load`] in progress.
    loading: AtomicUsize,
    draining: AtomicBool,
}

impl Engine {
    /// An engine without models. Its execution threads run until it is dropped. If there are repositories, it is not ready
    /// before [`Engine::start`] is done.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(
        settings: Settings,
        backends: Vec<Arc<dyn Backend>>,
        registry: &MetricRegistry,
    ) -> std::io::Result<Arc<Self>> {
        let metrics = ServingMetrics::register(registry);
        let executor = Executor::new(metrics.clone(), &settings.rate_limit, settings.max_stuck_threads);
        executor.start(or_cores(settings.execution_threads))?;
        let started = settings.repositories.is_empty();
        let lifecycle = Lifecycle::new(settings, backends, Arc::clone(&executor), metrics.clone());
        lifecycle.register(registry);
        Ok(Arc::new(Self {
            lifecycle,
            executor,
            metrics,
            started: AtomicBool::new(started),
            loading: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        }))
    }

    /// Looks for what [`Engine::start`] loads, as [`Settings::scan`] does: what lies elsewhere is mirrored first. Blocks.
    #[must_use]
    pub fn scan(&self) -> Scan {
        self.lifecycle.settings.scan()
    }

    /// Loads and warms what [`Settings::control`] says of what was found in [`Settings::repositories`], several at a time,
    /// and serves each as soon as it is ready. Blocks until all are done; those that fail stay in the index with their
    /// reason. Where the repositories are polled, that begins afterwards.
    pub fn start(&self, scan: &Scan) {
        self.lifecycle.start(scan);
        self.started.store(true, Ordering::Release);
    }

    /// Loads and warms models that the embedder knows of, in the same way. The server is not ready meanwhile.
    pub fn load(&self, entries: &[ModelEntry]) {
        self.loading.fetch_add(1, Ordering::AcqRel);
        self.lifecycle.load_all(entries.iter().cloned().map(Source::new).collect());
        self.loading.fetch_sub(1, Ordering::AcqRel);
    }

    /// Turns readiness red; requests are still answered. Nothing more is fetched from repositories that lie elsewhere, and no
    /// load begins any more: what waits for its turn is given up, for what [`Engine::start`] loads too.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.lifecycle.begin_drain();
    }

    /// Whether [`Engine::begin_drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// What operators may see and do of the response cache, where there is one.
    #[must_use]
    pub fn cache_control(&self) -> Option<Arc<dyn CacheControl>> {
        let (cache, lifecycle) = (self.lifecycle.cache.clone()?, Arc::downgrade(&self.lifecycle));
        Some(Arc::new(CacheAdmin { cache, lifecycle }))
    }

    /// Inference requests admitted and not answered.
    #[must_use]
    pub fn requests_in_flight(&self) -> i64 {
        self.metrics.in_flight().get()
    }

    fn resolve(&self, model: &ModelRef) -> Result<Arc<ServingModel>, EngineError> {
        let resolved = self.lifecycle.table.resolve(model);
        resolved.inspect_err(|error| self.metrics.refused(error.kind().as_str()))
    }

    /// Refuses a model that may answer any number of times. Ensembles do that themselves, knowing the models of their steps.
    fn check_one_answer(&self, serving: &ServingModel) -> Result<(), EngineError> {
        if !serving.served.decoupled {
            return Ok(());
        }
        let error = EngineError::Decoupled { model: serving.served.interface.model.clone() };
        self.metrics.refused(error.kind().as_str());
        Err(error)
    }

    async fn answer(
        &self,
        serving: &Arc<ServingModel>,
        request: InferRequest,
    ) -> Result<InferResponse, Fault> {
        let _in_flight = InFlight::new(&self.metrics);
        Ok(serving.answer(&self.lifecycle, request).await?)
    }
}

impl InferenceService for Engine {
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        Box::pin(async move {
            let serving = self.resolve(&request.model)?;
            self.check_one_answer(&serving)?;
            self.answer(&serving, request).await
        })
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        let serving = match self.resolve(&request.model) {
            Ok(serving) => serving,
            Err(error) => return one_response(Box::pin(ready(Err(error.into())))),
        };
        if !self.lifecycle.table.is_decoupled(&serving) {
            return one_response(Box::pin(async move { self.answer(&serving, request).await }));
        }
        let in_flight = InFlight::new(&self.metrics);
        let answers = serving.answers(&self.lifecycle, request);
        Box::pin(answers.map(move |answer| {
            // Dropped with the stream.
            let _ = &in_flight;
            answer.map_err(Fault::from)
        }))
    }

    fn decoupled(&self, model: &ModelRef) -> bool {
        let is_decoupled =
            |models: &Models| models.serving(model).is_ok_and(|model| model.is_decoupled(models));
        self.lifecycle.table.with(is_decoupled)
    }

    fn batches(&self, model: &ModelRef) -> bool {
        let batches = |models: &Models| {
            models.serving(model).is_ok_and(|model| model.served.interface.max_rows.is_some())
        };
        self.lifecycle.table.with(batches)
    }

    fn ready(&self) -> bool {
        !self.is_draining()
            && self.started.load(Ordering::Acquire)
            && self.loading.load(Ordering::Acquire) == 0
            && (self.lifecycle.table.is_whole() || !self.lifecycle.settings.strict_readiness)
    }

    fn model_ready(&self, model: &ModelRef) -> Result<bool, Fault> {
        Ok(self.lifecycle.table.is_ready(model)?)
    }

    fn server_metadata(&self) -> ServerMetadata {
        ServerMetadata {
            name: self.lifecycle.settings.server_name.as_str().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: EXTENSIONS.iter().map(|&name| name.into()).collect(),
        }
    }

    fn model_config(&self, model: &ModelRef) -> Result<ModelConfigDocument, Fault> {
        let serving = self.lifecycle.table.resolve(model)?;
        let decoupled = self.lifecycle.table.is_decoupled(&serving);
        Ok(effective::config(&serving, decoupled).document())
    }

    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault> {
        Ok(self.lifecycle.table.metadata(model)?)
    }

    fn statistics(&self, model: Option<&ModelRef>) -> Result<Vec<ModelStatistics>, Fault> {
        let table = &self.lifecycle.table;
        let serving = match model {
            None => table.all_serving(),
            Some(model @ ModelRef { version: Some(_), .. }) => vec![table.resolve(model)?],
            Some(model) => {
                // Tells why, if none answers.
                table.resolve(model)?;
                table.serving(&model.name).into_values().collect()
            }
        };
        let read = serving.iter().map(|serving| serving.served.read_statistics());
        Ok(read.collect())
    }

    /// Cost: one listing of each repository's folder, unless only ready models are asked for; of those that lie elsewhere, where
    /// a fresh one is asked for, over the network.
    fn repository_index(&self, query: &IndexQuery) -> Result<Vec<IndexEntry>, Fault> {
        let mut index = self.lifecycle.table.index(query);
        if !query.ready {
            let repositories = &self.lifecycle.settings.repositories;
            let names = if query.fresh { repositories.names() } else { repositories.known_names() };
            add_never_loaded(&mut index, names, query);
        }
        Ok(index)
    }

    fn load_model(&self, request: LoadModel) -> BoxFuture<'_, Result<(), Fault>> {
        let lifecycle = Arc::clone(&self.lifecycle);
        Box::pin(async move { lifecycle.load_on_request(request).await.map_err(Fault::from) })
    }

    fn unload_model(&self, request: UnloadModel) -> BoxFuture<'_, Result<(), Fault>> {
        let lifecycle = Arc::clone(&self.lifecycle);
        Box::pin(async move { lifecycle.unload_on_request(request).await.map_err(Fault::from) })
    }
}

/// Adds the models that are in a repository and were never loaded, with nothing but their names.
fn add_never_loaded(index: &mut Vec<IndexEntry>, names: BTreeMap<String, PathBuf>, query: &IndexQuery) {
    let in_repository = |folder: &PathBuf| {
        query.repository.is_empty() || folder.to_string_lossy() == query.repository.as_str()
    };
    let known = index.len();
    for (name, _) in names.into_iter().filter(|(_, folder)| in_repository(folder)) {
        let first = index[..known].partition_point(|line| *line.name < *name);
        if index[..known].get(first).is_none_or(|line| *line.name != *name) {
            let (name, reason) = (name.into(), "".into());
            index.push(IndexEntry { name, version: None, state: None, reason });
        }
    }
    index.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
}

impl Drop for Engine {
    /// Lets running batches finish, refuses what still waits, and ends the threads.
    fn drop(&mut self) {
        self.executor.close();
        self.lifecycle.close();
        let serving = self.lifecycle.table.drain();
        for serving in &serving {
            // Dropping a job drops its reply channel, which its caller sees as the engine closing.
            drop(serving.close());
        }
        // Runs have their limits until the last of them has ended.
        self.executor.join();
        self.lifecycle.watchdog.close();
        for serving in serving {
            serving.retire(&self.executor, true);
        }
        self.executor.join_runs();
    }
}

/// Counts a request as in flight while it lives.
pub(crate) struct InFlight<'a>(&'a ServingMetrics);

impl<'a> InFlight<'a> {
    fn new(metrics: &'a ServingMetrics) -> Self {
        metrics.in_flight().inc();
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight().dec();
    }
}
