mod server;

use std::path::PathBuf;
use std::sync::Arc;

use adulis_backend::{Backend, built_in};
use adulis_engine::{Engine, Settings};
use adulis_grpc::GrpcOptions;
use adulis_http::HttpOptions;
use adulis_pool::PoolError;
use adulis_quota::QuotaOptions;
use adulis_repository::Problem;
use adulis_security::{AuditFile, AuthSetupError};
use adulis_shared_memory::{SharedMemoryOptions, SystemSharedMemory};
use adulis_store::{DatabaseMetrics, Store, StoreError, StoreOptions};
#[cfg(feature = "object-storage")]
use adulis_telemetry::StorageMetrics;
use adulis_telemetry::{
    AuditMetrics, HostMetrics, MetricRegistry, PoolMetrics, ProcessMetrics, StoreMetrics, TraceOptions,
    Tracer, register_log,
};
use adulis_types::{
    AuditLog, BodyBudget, Dependency, InferenceService, LogControl, Services, SharedMemory, TraceControl,
};
use adulis_worker::{HostError, WorkerCommand, WorkerOptions, Workers};

pub use self::server::Adulis;
use crate::access::{Access, access};
use crate::around::{Hashes, around};
use crate::quotas::{OpenQuotas, QuotaSettings};
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
    max_in_flight_bytes: Option<usize>,
    backends: Vec<Arc<dyn Backend>>,
    wrap: Option<Wrap>,
    shared_memory: Option<SharedMemoryOptions>,
    store: Option<StoreOptions>,
    shared_cache: Option<SharedCache>,
    lookup_redis: Option<RedisServer>,
    access: Option<Access>,
    audit: Option<Option<PathBuf>>,
    quotas: Option<QuotaSettings>,
    log: Option<Arc<dyn LogControl>>,
    #[cfg(feature = "object-storage")]
    storage: adulis_storage::StorageOptions,
    trace: TraceOptions,
    workers: Option<(WorkerCommand, WorkerOptions)>,
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
    /// What quotas are shared in is set up wrongly. That it cannot be reached is no error.
    #[error("the Redis for quotas: {0}")]
    Quotas(#[source] PoolError),
    /// What the cache is shared in is set up wrongly. That it cannot be reached is no error.
    #[error("the shared cache: {0}")]
    SharedCache(#[source] PoolError),
    /// The Redis that inputs are looked up in is set up wrongly. That it cannot be reached is no error.
    #[error("the Redis for lookups: {0}")]
    Lookup(#[source] PoolError),
}

impl BuildError {
    /// Whether the configuration, or what it names, is at fault, and a start with the same one would end in the same way.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Models(_)
            | Self::Access(_)
            | Self::Audit { .. }
            | Self::Quotas(_)
            | Self::SharedCache(_)
            | Self::Lookup(_) => true,
            Self::Threads(_) | Self::Store(_) => false,
        }
    }
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

    /// Sets how many bytes of request bodies are held at once, over REST and gRPC together; `None`, as it is without: half of the
    /// memory that the process may use. It takes the place of what the frontends' options say.
    #[must_use]
    pub fn max_in_flight_bytes(mut self, limit: Option<usize>) -> Self {
        self.max_in_flight_bytes = limit;
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

    /// Limits what identities may ask for. Replicas that are told the same Redis count together; where the server is put together
    /// within a tokio runtime, it is connected to at once, else with the first request; in the background either way.
    #[must_use]
    pub fn quotas(mut self, options: QuotaOptions, redis: Option<RedisServer>) -> Self {
        self.quotas = Some(QuotaSettings { options, redis });
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

    /// Lets models run in worker processes, as far as the options or their configurations say so. The command is to call
    /// [`Builder::run_worker`] of a builder with the same backends.
    #[must_use]
    pub fn workers(mut self, command: WorkerCommand, options: WorkerOptions) -> Self {
        self.workers = Some((command, options));
        self
    }

    /// Runs as a worker of the server that has started this process, with this builder's backends, until that server is gone.
    ///
    /// # Errors
    /// [`HostError`], also where no server has started this process.
    pub fn run_worker(self) -> Result<(), HostError> {
        adulis_worker::run(self.take_backends().1)
    }

    /// The backends: those that were added, and those that come along.
    fn take_backends(mut self) -> (Self, Vec<Arc<dyn Backend>>) {
        let mut backends = std::mem::take(&mut self.backends);
        #[cfg(feature = "onnxruntime")]
        backends.push(Arc::new(adulis_onnx::OnnxRuntime::new(self.onnxruntime.clone())));
        #[cfg(feature = "tract")]
        backends.push(Arc::new(adulis_tract::Tract));
        backends.extend(built_in());
        (self, backends)
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
        let (builder, backends) = self.take_backends();
        builder.build_with(backends)
    }

    fn build_with(self, mut backends: Vec<Arc<dyn Backend>>) -> Result<Adulis, BuildError> {
        let mut settings = self.settings;
        let registry = Arc::new(MetricRegistry::default());
        #[cfg(feature = "object-storage")]
        let opener = Opener::new(self.storage).metrics(StorageMetrics::register(&registry));
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
        if let Some((command, options)) = self.workers {
            let workers = Workers::new(command, options, &registry);
            backends = backends.into_iter().map(|backend| workers.isolate(backend)).collect();
        }
        ProcessMetrics::register(&registry);
        register_log(&registry);
        if settings.triton_metric_names {
            HostMetrics::register(&registry);
        }
        let pools = PoolMetrics::register(&registry);
        let shared = self.shared_cache.map(|cache| cache.open(&pools)).transpose();
        let (tier, dependency) = shared.map_err(BuildError::SharedCache)?.unzip();
        settings.shared_cache = tier.or(settings.shared_cache);
        let hashes = self.lookup_redis.map(|redis| Hashes::open(&redis, &pools)).transpose()?;
        let quotas = self.quotas.map(|quotas| quotas.open(&registry, &pools)).transpose()?;
        let audit = self.audit.map(|file| open_audit(file, &registry)).transpose()?;
        settings.audit.clone_from(&audit);
        let engine = Engine::new(settings, backends, &registry)?;
        let service: Arc<dyn InferenceService> = Arc::clone(&engine) as _;
        let cache = engine.cache_control();
        let service = match self.wrap {
            Some(wrap) => wrap(service),
            None => service,
        };
        let store = self.store.map(|options| open_store(options, pools, &registry)).transpose()?;
        let service = around(service, store.as_ref(), hashes.as_ref(), quotas.as_ref());
        let limits = quotas.as_ref().map(OpenQuotas::limits);
        let dependencies: Vec<Arc<dyn Dependency>> = store
            .iter()
            .map(|store| Arc::clone(store) as Arc<dyn Dependency>)
            .chain(dependency)
            .chain(hashes.map(|hashes| hashes.dependency()))
            .chain(quotas.and_then(OpenQuotas::dependency))
            .collect();
        let access = self.access.map(|options| access(options, store.as_ref(), &registry)).transpose()?;
        let bodies = crate::bodies::budget(self.max_in_flight_bytes, &registry);
        let shared_memory = self.shared_memory.map(|options| open_shared_memory(options, &bodies, &registry));
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
            quotas: limits,
            registry,
            scan,
            http: HttpOptions { bodies: bodies.clone(), ..self.http },
            grpc: GrpcOptions { bodies, ..self.grpc },
        })
    }
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
fn open_shared_memory(
    options: SharedMemoryOptions,
    bodies: &BodyBudget,
    metrics: &MetricRegistry,
) -> Arc<dyn SharedMemory> {
    let memory = Arc::new(SystemSharedMemory::new(SharedMemoryOptions { bodies: bodies.clone(), ..options }));
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
