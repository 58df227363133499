use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use adulis_backend::Backend;
use adulis_repository::FailedModel;
use adulis_telemetry::{MetricRegistry, ServingMetrics};
use adulis_types::{
    BoxFuture, Fault, InferRequest, InferResponse, InferenceService, ModelConfigDocument, ModelMetadata,
    ModelRef, ServerMetadata, ServiceError,
};
use parking_lot::Mutex;

use crate::executor::Executor;
use crate::handover::InlineLimits;
use crate::settings::or_cores;
use crate::table::{ModelStatus, ModelTable};
use crate::{EngineError, Settings, effective};

/// Protocol extensions that are spoken.
const EXTENSIONS: [&str; 4] = [
    "binary_tensor_data",
    "model_configuration",
    "schedule_policy",
    "parameters",
];

/// Models, their queues, and the threads that execute them: the [`InferenceService`] that the frontends serve.
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) backends: Vec<Arc<dyn Backend>>,
    pub(crate) table: ModelTable,
    pub(crate) executor: Arc<Executor>,
    pub(crate) metrics: ServingMetrics,
    pub(crate) inline: InlineLimits,
    threads: Mutex<Vec<JoinHandle<()>>>,
    loading: AtomicBool,
    draining: AtomicBool,
}

impl Engine {
    /// An engine without models. Its execution threads run until it is dropped.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(
        settings: Settings,
        backends: Vec<Arc<dyn Backend>>,
        registry: &MetricRegistry,
    ) -> std::io::Result<Arc<Self>> {
        let metrics = ServingMetrics::register(registry);
        let executor = Executor::new(metrics.clone());
        let threads = executor.start(or_cores(settings.execution_threads))?;
        let inline = InlineLimits::new(settings.inline_threshold);
        Ok(Arc::new(Self {
            settings,
            inline,
            backends,
            table: ModelTable::default(),
            executor,
            metrics,
            threads: Mutex::new(threads),
            loading: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }))
    }

    /// Says that models are about to be loaded (or are all there): until then the server is not ready.
    pub fn set_loading(&self, loading: bool) {
        self.loading.store(loading, Ordering::Release);
    }

    /// Puts models that could not even be read into the index, with the reason.
    pub fn note_failed(&self, failed: &[FailedModel]) {
        for model in failed {
            let problems: Vec<String> = model.problems.iter().map(ToString::to_string).collect();
            self.table.set_problem(&model.name, &format!("failed to load: {}", problems.join("; ")));
        }
    }

    /// Every model version and its state.
    #[must_use]
    pub fn models(&self) -> Vec<ModelStatus> {
        self.table.statuses()
    }

    /// Turns readiness red; requests are still answered.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Inference requests admitted and not answered.
    #[must_use]
    pub fn requests_in_flight(&self) -> i64 {
        self.metrics.in_flight().get()
    }

    async fn answer(&self, request: InferRequest) -> Result<InferResponse, EngineError> {
        let serving = self.table.resolve(&request.model).inspect_err(|error| {
            self.metrics.refused(error.kind().as_str());
        })?;
        let _in_flight = InFlight::new(&self.metrics);
        serving.answer(&self.executor, request).await
    }
}

impl InferenceService for Engine {
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        Box::pin(async move { self.answer(request).await.map_err(Fault::from) })
    }

    fn ready(&self) -> bool {
        !self.draining.load(Ordering::Acquire)
            && !self.loading.load(Ordering::Acquire)
            && self.table.all_ready(self.settings.strict_readiness)
    }

    fn model_ready(&self, model: &ModelRef) -> Result<bool, Fault> {
        Ok(self.table.is_ready(model)?)
    }

    fn server_metadata(&self) -> ServerMetadata {
        ServerMetadata {
            name: "adulis".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: EXTENSIONS.iter().map(|&name| name.into()).collect(),
        }
    }

    fn model_config(&self, model: &ModelRef) -> Result<ModelConfigDocument, Fault> {
        Ok(effective::config(&*self.table.resolve(model)?).document())
    }

    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault> {
        Ok(self.table.metadata(model)?)
    }
}

impl Drop for Engine {
    /// Lets running batches finish, refuses what still waits, and ends the threads.
    fn drop(&mut self) {
        self.executor.close();
        for serving in self.table.drain() {
            // Dropping a job drops its reply channel, which its caller sees as the engine closing.
            drop(serving.lane.close());
            self.executor.unregister(serving.key);
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("an execution thread panicked");
            }
        }
    }
}

/// Counts a request as in flight while it lives.
struct InFlight<'a>(&'a ServingMetrics);

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
