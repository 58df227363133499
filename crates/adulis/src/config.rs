//! The server's configuration: what can be set, its defaults, and how defaults, `adulis.toml`, the environment and flags
//! become one checked [`Config`].

mod admission;
mod auth;
mod cache;
mod check;
mod compression;
mod control;
mod cors;
mod hosted;
mod http2;
mod inference_log;
mod jwt;
mod keys;
mod layers;
mod listener;
mod lookup;
mod metrics;
mod pools;
mod print;
mod quotas;
mod rate;
mod raw;
mod restricted;
mod shared_memory;
mod storage;
mod store;
mod supervisor;
mod tls;
mod trace;
mod units;
mod workers;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use adulis_backend::{EngineOptions, ExecutionProvider, GraphOptimization};
use adulis_engine::{Admission, ControlMode, RateLimit, Settings};
use adulis_grpc::GrpcOptions;
use adulis_http::{HeaderPattern, HttpOptions, ListenerOptions, Pace};
use adulis_quota::QuotaOptions;
use adulis_repository::Repositories;
use adulis_store::{LogOptions as InferenceLogOptions, StoreOptions};
use adulis_telemetry::{LogFormat, LogOptions, TraceOptions};
use adulis_worker::WorkerOptions;

pub use auth::{AuditConfig, AuthConfig};
pub use cache::CacheConfig;
pub use compression::CompressionConfig;
pub use cors::CorsConfig;
pub use hosted::{SageMakerConfig, VertexAiConfig};
pub use http2::Http2Config;
pub use layers::{ConfigErrors, ConfigFault, Layers, Loaded, Source};
pub use lookup::LookupConfig;
pub use metrics::MetricsConfig;
pub use pools::{MemcachedConfig, RedisConfig};
pub use quotas::QuotaConfig;
pub use shared_memory::SharedMemoryConfig;
pub use storage::StorageConfig;
pub use store::StoreConfig;
pub use supervisor::SupervisorConfig;
pub use tls::{ListenerTls, TlsConfig};

/// Everything that can be set, checked. [`Config::default`] is what holds where nothing is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Model files, model folders and repositories, and URLs of repositories in object storage.
    pub repositories: Vec<PathBuf>,
    /// Whether one model that failed to load makes the server not ready.
    pub strict_readiness: bool,
    /// Who says which models are loaded.
    pub control: ControlMode,
    /// Addresses and limits of connections and requests.
    pub server: ServerConfig,
    /// Who may do what.
    pub auth: AuthConfig,
    /// What is noted of changes.
    pub audit: AuditConfig,
    /// TLS of the listeners.
    pub tls: TlsConfig,
    /// How much identities may ask for.
    pub quotas: QuotaConfig,
    /// Scheduling and engines.
    pub engine: EngineConfig,
    /// Engines in worker processes.
    pub workers: WorkerOptions,
    /// How `adulis up` keeps its server.
    pub supervisor: SupervisorConfig,
    /// The response cache.
    pub cache: CacheConfig,
    /// Repositories in object storage.
    pub storage: StorageConfig,
    /// Shared memory of clients on the same machine.
    pub shared_memory: SharedMemoryConfig,
    /// The SQL database.
    pub store: StoreConfig,
    /// Where inputs of models are looked up beside it.
    pub lookup: LookupConfig,
    /// Requests and answers that are kept in it.
    pub inference_log: InferenceLogOptions,
    /// Metrics.
    pub metrics: MetricsConfig,
    /// Logs.
    pub log: LogConfig,
    /// Traces of single requests.
    pub trace: TraceOptions,
    /// What Amazon SageMaker asks.
    pub sagemaker: SageMakerConfig,
    /// What Google Vertex AI asks.
    pub vertex_ai: VertexAiConfig,
}

/// Addresses and limits of connections and requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// What the server calls itself in its metadata.
    pub name: String,
    /// REST; `None` where it is off.
    pub http: Option<SocketAddr>,
    /// gRPC; `None` where it is off. The same address as `http` is one port for both.
    pub grpc: Option<SocketAddr>,
    /// Metrics; `None` where they are off.
    pub metrics: Option<SocketAddr>,
    /// Connections at a time, for each listener.
    pub max_connections: usize,
    /// Connections at a time of one address, for each listener; 0: as many as in all.
    pub max_connections_per_peer: usize,
    /// How long the head of a request may take to arrive.
    pub header_timeout: Duration,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// The least bytes per second at which it must arrive, on average; 0: any.
    pub min_body_rate: usize,
    /// Bytes of request bodies that are held at once; `None`: half of the memory.
    pub max_in_flight_bytes: Option<usize>,
    /// How long a connection may lie idle.
    pub idle_timeout: Duration,
    /// The longest that any request may take; `None`: as long as the client waits.
    pub request_timeout: Option<Duration>,
    /// Most bytes of a request's head (HTTP/1.1), or of its header list (HTTP/2).
    pub max_header_bytes: u32,
    /// Longest REST body in bytes, as sent and decompressed.
    pub max_body_bytes: usize,
    /// Longest REST body of a request to load a model, in bytes, as sent and decompressed.
    pub max_load_bytes: usize,
    /// Longest gRPC message from a client in bytes, decompressed.
    pub max_grpc_message_bytes: usize,
    /// Requests in progress on one `ModelStreamInfer` stream.
    pub max_grpc_stream_requests: usize,
    /// Which headers of a REST request become its parameters.
    pub http_header_forward_pattern: Option<HeaderPattern>,
    /// Which metadata of a gRPC call become parameters of its requests.
    pub grpc_header_forward_pattern: Option<HeaderPattern>,
    /// How long connections are still accepted after a signal to stop, while readiness is red already.
    pub lame_duck: Duration,
    /// How long requests in progress have to end after that.
    pub drain_timeout: Duration,
    /// Limits of HTTP/2.
    pub http2: Http2Config,
    /// Which responses are compressed.
    pub compression: CompressionConfig,
    /// What pages of other origins may do.
    pub cors: CorsConfig,
}

/// Scheduling and engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Execution threads; 0: one per core that this process may use.
    pub execution_threads: usize,
    /// Models loaded at a time; 0: one per core.
    pub load_threads: usize,
    /// Runs known to be shorter than this are done on the I/O thread while nobody else asks for the model; zero: none.
    pub inline_threshold: Duration,
    /// Batch limit in rows for models that can batch and do not say.
    pub default_max_batch_size: usize,
    /// Rows that may wait per model; 0: no bound.
    pub max_queued_rows: usize,
    /// Whether requests are admitted by what they will cost.
    pub admission: Admission,
    /// The longest wait in a queue that a request is admitted for; `None`: any.
    pub max_queue_time: Option<Duration>,
    /// How long a run may take; `None`: any time.
    pub max_execution_time: Option<Duration>,
    /// Threads that may be stuck in runs that were written off.
    pub max_stuck_threads: usize,
    /// Whether runs wait for the resources that models say they need.
    pub rate_limit: RateLimit,
    /// How long the requests of a model that is unloaded have to end.
    pub unload_timeout: Duration,
    /// Most bytes of files that came with requests to load models, in all.
    pub max_override_bytes: usize,
    /// Backends to try, in order, for models that name none.
    pub backends: Vec<String>,
    /// How hard the engine works on a graph before the first run.
    pub graph_optimization: GraphOptimization,
    /// Execution providers for models that name none, first choice first; empty: the CPU.
    pub providers: Vec<ExecutionProvider>,
    /// Whether a provider that cannot run here is skipped with a warning instead of failing the load.
    pub provider_fallback: bool,
    /// Whether the engine's CPU memory arena is used.
    pub arena: bool,
    /// Folder for optimised models; `None` keeps none.
    pub optimized_cache: Option<PathBuf>,
    /// ONNX Runtime's own settings.
    pub onnxruntime: OnnxRuntimeConfig,
}

/// ONNX Runtime's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnnxRuntimeConfig {
    /// The library file; `None` searches for it.
    pub library: Option<PathBuf>,
    /// Threads of the pool that runs the parts of one operator; 0: one per core that this process may use.
    pub intra_op_threads: usize,
    /// Threads of the pool that runs independent branches of a graph; 0 and 1: none beside the caller.
    pub inter_op_threads: usize,
    /// Whether threads of the pool spin when they have nothing to do.
    pub spinning: bool,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Format of the lines.
    pub format: LogFormat,
    /// Level or directives.
    pub filter: String,
    /// Whether each request has a line.
    pub access: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            repositories: Vec::new(),
            strict_readiness: true,
            control: ControlMode::default(),
            server: ServerConfig::default(),
            auth: AuthConfig::default(),
            audit: AuditConfig::default(),
            tls: TlsConfig::default(),
            quotas: QuotaConfig::default(),
            engine: EngineConfig::default(),
            workers: WorkerOptions::default(),
            supervisor: SupervisorConfig::default(),
            cache: CacheConfig::default(),
            storage: StorageConfig::default(),
            shared_memory: SharedMemoryConfig::default(),
            store: StoreConfig::default(),
            lookup: LookupConfig::default(),
            inference_log: InferenceLogOptions::default(),
            metrics: MetricsConfig::default(),
            log: LogConfig::default(),
            trace: TraceOptions::default(),
            sagemaker: SageMakerConfig::default(),
            vertex_ai: VertexAiConfig::default(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        let at = |port| Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        Self {
            name: Settings::default().server_name,
            http: at(8000),
            grpc: at(8001),
            metrics: at(8002),
            max_connections: 16_384,
            max_connections_per_peer: ListenerOptions::default().max_connections_per_peer,
            header_timeout: Duration::from_secs(10),
            body_timeout: Pace::default().whole,
            min_body_rate: Pace::default().bytes_per_second,
            max_in_flight_bytes: None,
            idle_timeout: Duration::from_secs(75),
            request_timeout: None,
            max_header_bytes: ListenerOptions::default().max_header_bytes,
            max_body_bytes: 64 << 20,
            max_load_bytes: 512 << 20,
            max_grpc_message_bytes: 256 << 20,
            max_grpc_stream_requests: GrpcOptions::default().max_stream_requests,
            http_header_forward_pattern: None,
            grpc_header_forward_pattern: None,
            lame_duck: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            http2: Http2Config::default(),
            compression: CompressionConfig::default(),
            cors: CorsConfig::default(),
        }
    }
}

impl ServerConfig {
    /// Whether REST and gRPC are on one port.
    #[must_use]
    pub fn shares_a_port(&self) -> bool {
        self.http.is_some_and(|http| http.port() != 0) && self.http == self.grpc
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        let settings = Settings::default();
        let engine = settings.engine;
        Self {
            execution_threads: settings.execution_threads,
            load_threads: settings.load_threads,
            inline_threshold: settings.inline_threshold,
            default_max_batch_size: settings.default_max_batch_size,
            max_queued_rows: settings.max_queued_rows,
            admission: settings.admission,
            max_queue_time: settings.max_queue_time,
            max_execution_time: settings.max_execution_time,
            max_stuck_threads: settings.max_stuck_threads,
            rate_limit: settings.rate_limit,
            unload_timeout: settings.unload_timeout,
            max_override_bytes: settings.max_override_bytes,
            backends: settings.backend_order,
            graph_optimization: engine.graph_optimization,
            providers: engine.providers,
            provider_fallback: engine.provider_fallback,
            arena: engine.arena,
            optimized_cache: engine.optimized_cache,
            onnxruntime: OnnxRuntimeConfig::default(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        let LogOptions { format, filter } = LogOptions::default();
        Self { format, filter, access: false }
    }
}

impl Config {
    /// What the engine is told; [`Config::repositories`] are for [`crate::Builder::models`].
    #[must_use]
    pub fn settings(&self) -> Settings {
        let engine = self.engine.clone();
        Settings {
            server_name: self.server.name.clone(),
            repositories: Repositories::default(),
            control: self.control.clone(),
            execution_threads: engine.execution_threads,
            load_threads: engine.load_threads,
            inline_threshold: engine.inline_threshold,
            default_max_batch_size: engine.default_max_batch_size,
            max_queued_rows: engine.max_queued_rows,
            admission: engine.admission,
            max_queue_time: engine.max_queue_time,
            max_execution_time: engine.max_execution_time,
            max_stuck_threads: engine.max_stuck_threads,
            rate_limit: engine.rate_limit,
            unload_timeout: engine.unload_timeout,
            max_override_bytes: engine.max_override_bytes,
            cache: self.cache.settings.clone(),
            strict_readiness: self.strict_readiness,
            triton_metric_names: self.metrics.triton_names,
            backend_order: engine.backends,
            engine: EngineOptions {
                graph_optimization: engine.graph_optimization,
                providers: engine.providers,
                provider_fallback: engine.provider_fallback,
                arena: engine.arena,
                optimized_cache: engine.optimized_cache,
                ..EngineOptions::default()
            },
            // What is opened with the server: see `Builder::shared_cache` and `Builder::audit`.
            ..Settings::default()
        }
    }

    /// What ONNX Runtime is told.
    #[cfg(feature = "onnxruntime")]
    #[must_use]
    pub fn onnxruntime(&self) -> adulis_onnx::OnnxRuntimeOptions {
        let OnnxRuntimeConfig { library, intra_op_threads, inter_op_threads, spinning } =
            self.engine.onnxruntime.clone();
        adulis_onnx::OnnxRuntimeOptions { library, intra_op_threads, inter_op_threads, spinning }
    }

    /// What the log is told.
    #[must_use]
    pub fn log_options(&self) -> LogOptions {
        let mut filter = self.log.filter.clone();
        if self.log.access {
            filter.push_str(",adulis::access=debug");
        }
        LogOptions { format: self.log.format, filter }
    }

    fn body_pace(&self) -> Pace {
        Pace {
            whole: self.server.body_timeout,
            bytes_per_second: self.server.min_body_rate,
            ..Pace::default()
        }
    }

    /// What the REST frontend is told.
    #[must_use]
    pub fn http(&self) -> HttpOptions {
        let server = &self.server;
        HttpOptions {
            max_body_bytes: server.max_body_bytes,
            max_load_bytes: server.max_load_bytes,
            body_pace: self.body_pace(),
            request_timeout: server.request_timeout,
            compression: server.compression.rest,
            min_compress_bytes: server.compression.min_bytes,
            forward_headers: self.auth.forwarded(server.http_header_forward_pattern.as_ref()),
            ..HttpOptions::default()
        }
    }

    /// What the gRPC frontend is told.
    #[must_use]
    pub fn grpc(&self) -> GrpcOptions {
        let server = &self.server;
        GrpcOptions {
            max_request_bytes: server.max_grpc_message_bytes,
            message_pace: self.body_pace(),
            max_stream_requests: server.max_grpc_stream_requests,
            request_timeout: server.request_timeout,
            compress_responses: server.compression.grpc,
            forward_metadata: self.auth.forwarded(server.grpc_header_forward_pattern.as_ref()),
            ..GrpcOptions::default()
        }
    }

    /// What requests have to show, and how it is found out who sends them; `None` where everybody may do everything.
    #[must_use]
    pub fn access(&self) -> Option<crate::Access> {
        let AuthConfig { enabled, api_keys, restricted, options } = self.auth.clone();
        let is_guarded = enabled || !restricted.is_empty();
        is_guarded.then(|| crate::Access { options: enabled.then_some(options), api_keys, restricted })
    }

    /// How much identities may ask for, and what replicas count in together; `None` where nothing is limited.
    #[must_use]
    pub fn quotas(&self) -> Option<(QuotaOptions, Option<crate::RedisServer>)> {
        let QuotaConfig { options, redis } = &self.quotas;
        (!options.classes.is_empty()).then(|| (options.clone(), redis.server()))
    }

    /// What the store is told; `None` where nothing is kept.
    #[must_use]
    pub fn store(&self) -> Option<StoreOptions> {
        let is_logging = self.inference_log.policies.log_anything();
        let store = &self.store;
        let has_keys = self.auth.enabled && self.auth.api_keys;
        (store.usage || store.lookup || is_logging || has_keys).then(|| StoreOptions {
            url: store.place(),
            pool: store.pool.clone(),
            usage_interval: store.usage.then_some(store.usage_interval),
            log: is_logging.then(|| self.inference_log.clone()),
            lookup: store.lookup,
        })
    }

    /// The whole configuration as an `adulis.toml` that reads back to the same, secrets masked.
    #[must_use]
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }

    /// The keys in which another configuration differs.
    #[must_use]
    pub fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        print::changed_keys(self, other)
    }
}

#[cfg(test)]
mod tests;
