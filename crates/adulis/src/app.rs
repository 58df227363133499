use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::{Backend, built_in};
use adulis_engine::{Engine, Settings};
use adulis_grpc::GrpcOptions;
use adulis_http::HttpOptions;
use adulis_pool::{PoolError, RedisPool};
use adulis_repository::{Problem, Scan};
use adulis_security::{AuditFile, AuthSetupError};
use adulis_shared_memory::{SharedMemoryOptions, SystemSharedMemory};
use adulis_store::{DatabaseMetrics, Lookups, Store, StoreError, StoreOptions};
use adulis_telemetry::{
    AuditMetrics, HostMetrics, MetricRegistry, PoolMetrics, ProcessMetrics, StoreMetrics, TraceOptions,
    Tracer,
};
use adulis_types::{
    AuditLog, Dependency, IndexQuery, InferenceService, LogControl, ModelState, Services, SharedMemory,
    TraceControl,
};

use crate::access::{Access, access};
use crate::dependency::PoolDependency;
use crate::repositories::{self, Opener};
use crate::{RedisServer, SharedCache};

/// Wraps the service that the frontends see.
type Wrap = Box<dyn FnOnce(Arc<dyn InferenceService>) -> Arc<dyn InferenceService> + Send>;

/// Puts a server together. Everything has a default: models are the least it needs.
#[derive(Default)]
pub struct Builder {
    models: Vec<PathBuf>,
    settings: Settings,
    http: HttpOptions,
    grpc: GrpcOptions,
    backends: Vec<Arc<dyn Backend>>,
    wrap: Option<Wrap>,
    shared_memory: Option<SharedMemoryOptions>,
    store: Option<StoreOptions>,
    shared_cache: Option<SharedCache>,
    lookup_redis: Option<RedisServer>,
    access: Option<Access>,
    audit: Option<Option<PathBuf>>,
    log: Option<Arc<dyn LogControl>>,
    #[cfg(feature = "object-storage")]
    storage: adulis_storage::StorageOptions,
    trace: TraceOptions,
    #[cfg(feature = "onnxruntime")]
    onnxruntime: adulis_onnx::OnnxRuntimeOptions,
}

/// Why a server could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A path or URL that was named does not hold models, or cannot be read.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Models(Vec<Problem>),
    /// An execution thread could not be started.
    #[error("cannot start the execution threads: {0}")]
    Threads(#[from] std::io::Error),
    /// The store could not be opened. That its database cannot be reached is no error.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// Who asks cannot be found out in the way that was set up.
    #[error("authentication: {0}")]
    Access(#[from] AuthSetupError),
    /// The file that changes are noted in cannot be opened.
    #[error("cannot open the audit log {}", .path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What the cache is shared in is set up wrongly. That it cannot be reached is no error.
    #[error("the shared cache: {0}")]
    SharedCache(#[source] PoolError),
    /// The Redis that inputs are looked up in is set up wrongly. That it cannot be reached is no error.
    #[error("the Redis for lookups: {0}")]
    Lookup(#[source] PoolError),
}

impl Builder {
    /// Adds a model file, a model's folder, a model repository, or the URL of one in object storage (`s3://bucket/models`,
    /// `gs://…`, `as://…`), to those of [`Settings::repositories`].
    #[must_use]
    pub fn models(mut self, path: impl Into<PathBuf>) -> Self {
        self.models.push(path.into());
        self
    }

    /// Sets the engine's settings, [`Settings::control`] among them: whether models are loaded at start only, by request, or
    /// whenever a repository changes.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets limits and habits of the REST frontend.
    #[must_use]
    pub fn http(mut self, options: HttpOptions) -> Self {
        self.http = options;
        self
    }

    /// Sets limits of the gRPC frontend.
    #[must_use]
    pub fn grpc(mut self, options: GrpcOptions) -> Self {
        self.grpc = options;
        self
    }

    /// Sets where ONNX Runtime is found and how many threads it takes.
    #[cfg(feature = "onnxruntime")]
    #[must_use]
    pub fn onnxruntime(mut self, options: adulis_onnx::OnnxRuntimeOptions) -> Self {
        self.onnxruntime = options;
        self
    }

    /// Sets how repositories in object storage are reached, and where they are mirrored.
    #[cfg(feature = "object-storage")]
    #[must_use]
    pub fn storage(mut self, options: adulis_storage::StorageOptions) -> Self {
        self.storage = options;
        self
    }

    /// Lets clients on the same machine register shared memory regions. Without it they cannot.
    #[must_use]
    pub fn shared_memory(mut self, options: SharedMemoryOptions) -> Self {
        self.shared_memory = Some(options);
        self
    }

    /// Keeps usage and the inference log in a database. See [`Adulis::close`].
    #[must_use]
    pub fn store(mut self, options: StoreOptions) -> Self {
        self.store = Some(options);
        self
    }

    /// Lets replicas share the response cache. Where the server is put together within a tokio runtime, connections are opened
    /// at once, else with the first request; in the background either way.
    #[must_use]
    pub fn shared_cache(mut self, cache: SharedCache) -> Self {
        self.shared_cache = Some(cache);
        self
    }

    /// Lets models have inputs looked up in hashes of this Redis. In tables of the store's database they have them where
    /// [`StoreOptions::lookup`] says so.
    #[must_use]
    pub fn lookup_redis(mut self, redis: RedisServer) -> Self {
        self.lookup_redis = Some(redis);
        self
    }

    /// Asks clients who they are, and lets them do what they may. Without it everybody may do everything.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// Notes in the log who changed what, and in a file if one is named.
    #[must_use]
    pub fn audit(mut self, file: Option<PathBuf>) -> Self {
        self.audit = Some(file);
        self
    }

    /// Lets clients see and change what this log shows. Without it they cannot.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn LogControl>) -> Self {
        self.log = Some(log);
        self
    }

    /// Sets what is traced from the start, and the file that traces go to. Without a file clients cannot switch them on.
    #[must_use]
    pub fn trace(mut self, options: TraceOptions) -> Self {
        self.trace = options;
        self
    }

    /// Adds a backend. It goes before those that come along, so that one of the same name takes its place.
    #[must_use]
    pub fn backend(mut self, backend: impl Backend) -> Self {
        self.backends.push(Arc::new(backend));
        self
    }

    /// Puts a service of yours around the engine: what it answers is what clients see, over REST and gRPC alike. As a
    /// [`DelegatingService`](adulis_types::DelegatingService) it passes on whatever it does not answer itself.
    #[must_use]
    pub fn wrap(
        mut self,
        wrap: impl FnOnce(Arc<dyn InferenceService>) -> Arc<dyn InferenceService> + Send + 'static,
    ) -> Self {
        self.wrap = Some(Box::new(wrap));
        self
    }

    /// Finds the models and starts the execution threads. The models are not loaded yet: see [`Adulis::load`]. Repositories in
    /// object storage are only asked whether they can be read.
    ///
    /// # Errors
    /// [`BuildError`]. A model that cannot be read is no error: it is in the index, with the reason.
    pub fn build(self) -> Result<Adulis, BuildError> {
        let mut settings = self.settings;
        #[cfg(feature = "object-storage")]
        let opener = Opener::new(self.storage);
        #[cfg(not(feature = "object-storage"))]
        let opener = Opener::default();
        let named = repositories::open(&self.models, &opener).map_err(BuildError::Models)?;
        settings.repositories.append(named);
        let scan = settings.repositories.scan_local();
        if !scan.problems.is_empty() {
            return Err(BuildError::Models(scan.problems));
        }
        // What lies elsewhere is fetched when the server is there to say that it is not ready yet.
        let scan = (!settings.repositories.has_remote()).then(|| Arc::new(scan));
        let mut backends = self.backends;
        #[cfg(feature = "onnxruntime")]
        backends.push(Arc::new(adulis_onnx::OnnxRuntime::new(self.onnxruntime)));
        #[cfg(feature = "tract")]
        backends.push(Arc::new(adulis_tract::Tract));
        backends.extend(built_in());
        let registry = Arc::new(MetricRegistry::default());
        ProcessMetrics::register(&registry);
        if settings.triton_metric_names {
            HostMetrics::register(&registry);
        }
        let pools = PoolMetrics::register(&registry);
        let shared = self.shared_cache.map(|cache| cache.open(&pools)).transpose();
        let (tier, dependency) = shared.map_err(BuildError::SharedCache)?.unzip();
        settings.shared_cache = tier.or(settings.shared_cache);
        let hashes = self.lookup_redis.map(|redis| Hashes::open(&redis, &pools)).transpose()?;
        let engine = Engine::new(settings, backends, &registry)?;
        let service: Arc<dyn InferenceService> = Arc::clone(&engine) as _;
        let cache = engine.cache_control();
        let service = match self.wrap {
            Some(wrap) => wrap(service),
            None => service,
        };
        let store = self.store.map(|options| open_store(options, pools, &registry)).transpose()?;
        let service = around(service, store.as_ref(), hashes.as_ref());
        let dependencies: Vec<Arc<dyn Dependency>> = store
            .iter()
            .map(|store| Arc::clone(store) as Arc<dyn Dependency>)
            .chain(dependency)
            .chain(hashes.map(|hashes| hashes.dependency()))
            .collect();
        let access = self.access.map(|options| access(options, store.as_ref(), &registry)).transpose()?;
        let audit = self.audit.map(|file| open_audit(file, &registry)).transpose()?;
        let shared_memory = self.shared_memory.map(|options| open_shared_memory(options, &registry));
        let trace: Arc<dyn TraceControl> = Arc::new(Tracer::new(self.trace, &registry));
        Ok(Adulis {
            engine,
            services: Services {
                shared_memory,
                log: self.log,
                trace: Some(trace),
                access,
                audit,
                dependencies,
                cache,
                ..Services::from(service)
            },
            store,
            registry,
            scan,
            http: self.http,
            grpc: self.grpc,
        })
    }
}

/// A server without sockets. Clones share it.
#[derive(Clone)]
pub struct Adulis {
    engine: Arc<Engine>,
    services: Services,
    store: Option<Arc<Store>>,
    registry: Arc<MetricRegistry>,
    /// What was found already, where nothing else is to be looked for.
    scan: Option<Arc<Scan>>,
    http: HttpOptions,
    grpc: GrpcOptions,
}

impl Adulis {
    /// A builder with every default.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Loads and warms the models that were found, or those of them that [`Settings::control`] says; blocks until all are
    /// done. Each serves as soon as it is ready; the server as a whole says that it is ready afterwards. Call it from a
    /// thread that may block (`tokio::task::spawn_blocking`, or before the runtime starts).
    ///
    /// If a repository that lies elsewhere cannot be mirrored, nothing is loaded, the log says why, and the server never gets
    /// ready: [`Adulis::try_load`] tells.
    pub fn load(&self) {
        if let Err(error) = self.try_load() {
            tracing::error!("{error}");
        }
    }

    /// The same.
    ///
    /// # Errors
    /// [`BuildError::Models`] if a repository cannot be read any more, or not be mirrored.
    pub fn try_load(&self) -> Result<(), BuildError> {
        let started = Instant::now();
        let scan = self.scan.clone().unwrap_or_else(|| Arc::new(self.engine.scan()));
        if !scan.problems.is_empty() {
            return Err(BuildError::Models(scan.problems.clone()));
        }
        self.engine.start(&scan);
        self.log_outcome(&scan, started.elapsed());
        Ok(())
    }

    fn log_outcome(&self, scan: &Scan, took: Duration) {
        let index = self.engine.repository_index(&IndexQuery::default()).unwrap_or_default();
        let loaded = index.iter().filter(|line| line.state.is_some());
        let ready = loaded.clone().filter(|line| line.state == Some(ModelState::Ready)).count();
        let failed = loaded.count() - ready;
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if ready + failed == 0 && !scan.empty.is_empty() {
            tracing::warn!(models = 0, "ready, and no model to serve: see the folders that are named above");
        } else if self.services.inference.ready() {
            tracing::info!(models = ready, failed, milliseconds, "ready");
        } else {
            tracing::error!(
                models = ready,
                failed,
                milliseconds,
                "not ready: see the models that failed to load above"
            );
        }
    }

    /// The engine, for its index of models and for draining.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The store, where there is one.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Writes what the store has still to write; what cannot be written within `limit` is dropped and counted. To be called
    /// when no more requests are served.
    pub async fn close(&self, limit: Duration) {
        if let Some(store) = &self.store {
            store.close(limit).await;
        }
    }

    /// The service that the frontends serve.
    #[must_use]
    pub fn service(&self) -> &Arc<dyn InferenceService> {
        &self.services.inference
    }

    /// Metrics; an application may add its own.
    #[must_use]
    pub fn registry(&self) -> &Arc<MetricRegistry> {
        &self.registry
    }

    /// The REST routes, all below `/v2`.
    pub fn rest(&self) -> adulis_http::Router {
        adulis_http::router(self.services.clone(), self.http.clone())
    }

    /// The routes of KServe's and TensorFlow Serving's V1 protocol: `/v1/models` and what is below it, and `GET /`.
    pub fn v1(&self) -> adulis_http::Router {
        adulis_http::v1_router(self.services.clone(), self.http.clone())
    }

    /// The routes that Amazon SageMaker asks a container.
    pub fn sagemaker(&self, options: adulis_http::SageMakerOptions) -> adulis_http::Router {
        adulis_http::sagemaker_router(self.services.clone(), self.http.clone(), options)
    }

    /// The routes that Google Vertex AI asks a container, with its way to the REST routes.
    pub fn vertex_ai(&self, options: adulis_http::VertexOptions) -> adulis_http::Router {
        adulis_http::vertex_router(self.rest(), self.services.clone(), self.http.clone(), options)
    }

    /// The gRPC service as routes, to be served with HTTP/2, on a port of its own or together with others.
    pub fn grpc(&self) -> adulis_http::Router {
        adulis_grpc::routes(self.services.clone(), self.grpc.clone())
            .into_axum_router()
            .reset_fallback()
    }

    /// `GET /metrics`, `GET /livez`, `GET /v2/health/live` and `/ready`.
    pub fn metrics(&self) -> adulis_http::Router {
        let registry = Arc::clone(&self.registry);
        let health = adulis_http::health_router(self.services.clone(), self.http.clone());
        let render = Arc::new(move |format| registry.render(format));
        adulis_http::metrics_router(self.services.clone(), render).merge(health)
    }
}

/// What models look up in Redis.
struct Hashes {
    pool: RedisPool,
    key_prefix: String,
}

impl Hashes {
    const NAME: &'static str = "lookup_redis";

    fn open(redis: &RedisServer, metrics: &PoolMetrics) -> Result<Self, BuildError> {
        let pool = redis.open(Self::NAME, metrics).map_err(BuildError::Lookup)?;
        Ok(Self { pool, key_prefix: redis.key_prefix.clone() })
    }

    fn dependency(self) -> Arc<dyn Dependency> {
        Arc::new(PoolDependency::new(Self::NAME, move || vec![self.pool.status()]))
    }
}

/// What stands around the service, from within: what is logged and counted is what clients see, with the features in it.
fn around(
    service: Arc<dyn InferenceService>,
    store: Option<&Arc<Store>>,
    hashes: Option<&Hashes>,
) -> Arc<dyn InferenceService> {
    let (service, lookups) = match store {
        Some(store) => (store.wrap(service), store.lookups()),
        None => (service, Lookups::default()),
    };
    let lookups = match hashes {
        Some(hashes) => lookups.with_hashes(hashes.pool.clone(), &hashes.key_prefix),
        None => lookups,
    };
    lookups.wrap(service)
}

fn open_store(
    options: StoreOptions,
    pools: PoolMetrics,
    registry: &MetricRegistry,
) -> Result<Arc<Store>, BuildError> {
    let metrics = DatabaseMetrics { pools, store: StoreMetrics::register(registry) };
    Ok(Store::open(options, registry, &metrics)?)
}

fn open_audit(file: Option<PathBuf>, registry: &MetricRegistry) -> Result<Arc<dyn AuditLog>, BuildError> {
    let log = AuditFile::open(file.as_deref(), AuditMetrics::register(registry));
    let log = log.map_err(|source| BuildError::Audit { path: file.unwrap_or_default(), source })?;
    Ok(Arc::new(log))
}

/// An empty registry of regions, with its metrics.
fn open_shared_memory(options: SharedMemoryOptions, metrics: &MetricRegistry) -> Arc<dyn SharedMemory> {
    let memory = Arc::new(SystemSharedMemory::new(options));
    let (regions, bytes) = (Arc::clone(&memory), Arc::clone(&memory));
    let name = "adulis_shared_memory_regions";
    metrics.register_observed(name, "Shared memory regions that are registered", move || {
        regions.usage().regions as u64
    });
    let name = "adulis_shared_memory_bytes";
    metrics.register_observed(name, "Bytes of all registered shared memory regions", move || {
        bytes.usage().bytes
    });
    memory
}
