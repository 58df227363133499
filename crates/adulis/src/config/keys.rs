/// How a value is written outside of TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, durations and sizes.
    Text,
    /// A whole number.
    Number,
    /// A number that need not be whole.
    Share,
    /// `true` or `false`.
    Flag,
    /// Texts, with commas between them.
    List,
    /// Paths and URLs, with `:` between them.
    Paths,
}

/// A key of the configuration.
pub(super) struct Key {
    /// Its path in `adulis.toml`.
    pub(super) path: &'static str,
    /// Its variable in the environment.
    pub(super) variable: &'static str,
    /// How its variable is written.
    pub(super) kind: Kind,
    /// Whether its value must never be shown.
    pub(super) secret: bool,
}

const fn key(path: &'static str, variable: &'static str, kind: Kind) -> Key {
    Key { path, variable, kind, secret: false }
}

/// Every key. Variables are `ADULIS_` and the path in upper case, without the section `server`, and ONNX Runtime's without
/// `engine`.
pub(super) const KEYS: &[Key] = &[
    key("repositories", "ADULIS_REPOSITORIES", Kind::Paths),
    key("strict_readiness", "ADULIS_STRICT_READINESS", Kind::Flag),
    key("model_control_mode", "ADULIS_MODEL_CONTROL_MODE", Kind::Text),
    key("load_model", "ADULIS_LOAD_MODEL", Kind::List),
    key("repository_poll_seconds", "ADULIS_REPOSITORY_POLL_SECONDS", Kind::Number),
    key("server.name", "ADULIS_NAME", Kind::Text),
    key("server.http", "ADULIS_HTTP", Kind::Text),
    key("server.grpc", "ADULIS_GRPC", Kind::Text),
    key("server.metrics", "ADULIS_METRICS", Kind::Text),
    key("server.max_connections", "ADULIS_MAX_CONNECTIONS", Kind::Number),
    key("server.header_timeout", "ADULIS_HEADER_TIMEOUT", Kind::Text),
    key("server.body_timeout", "ADULIS_BODY_TIMEOUT", Kind::Text),
    key("server.idle_timeout", "ADULIS_IDLE_TIMEOUT", Kind::Text),
    key("server.request_timeout", "ADULIS_REQUEST_TIMEOUT", Kind::Text),
    key("server.max_header_bytes", "ADULIS_MAX_HEADER_BYTES", Kind::Text),
    key("server.max_body_bytes", "ADULIS_MAX_BODY_BYTES", Kind::Text),
    key("server.max_load_bytes", "ADULIS_MAX_LOAD_BYTES", Kind::Text),
    key("server.max_grpc_message_bytes", "ADULIS_MAX_GRPC_MESSAGE_BYTES", Kind::Text),
    key("server.max_grpc_stream_requests", "ADULIS_MAX_GRPC_STREAM_REQUESTS", Kind::Number),
    key("server.http_header_forward_pattern", "ADULIS_HTTP_HEADER_FORWARD_PATTERN", Kind::Text),
    key("server.grpc_header_forward_pattern", "ADULIS_GRPC_HEADER_FORWARD_PATTERN", Kind::Text),
    key("server.lame_duck", "ADULIS_LAME_DUCK", Kind::Text),
    key("server.drain_timeout", "ADULIS_DRAIN_TIMEOUT", Kind::Text),
    key("server.http2.max_concurrent_streams", "ADULIS_HTTP2_MAX_CONCURRENT_STREAMS", Kind::Number),
    key(
        "server.http2.max_pending_reset_streams",
        "ADULIS_HTTP2_MAX_PENDING_RESET_STREAMS",
        Kind::Number,
    ),
    key(
        "server.http2.max_error_reset_streams",
        "ADULIS_HTTP2_MAX_ERROR_RESET_STREAMS",
        Kind::Number,
    ),
    key("server.http2.ping_interval", "ADULIS_HTTP2_PING_INTERVAL", Kind::Text),
    key("server.compression.rest", "ADULIS_COMPRESSION_REST", Kind::Text),
    key("server.compression.min_bytes", "ADULIS_COMPRESSION_MIN_BYTES", Kind::Text),
    key("server.compression.grpc", "ADULIS_COMPRESSION_GRPC", Kind::Flag),
    key("engine.execution_threads", "ADULIS_ENGINE_EXECUTION_THREADS", Kind::Number),
    key("engine.load_threads", "ADULIS_ENGINE_LOAD_THREADS", Kind::Number),
    key("engine.inline_threshold", "ADULIS_ENGINE_INLINE_THRESHOLD", Kind::Text),
    key("engine.default_max_batch_size", "ADULIS_ENGINE_DEFAULT_MAX_BATCH_SIZE", Kind::Number),
    key("engine.max_queued_rows", "ADULIS_ENGINE_MAX_QUEUED_ROWS", Kind::Number),
    key("engine.rate_limit", "ADULIS_ENGINE_RATE_LIMIT", Kind::Text),
    key("engine.rate_limit_resource", "ADULIS_ENGINE_RATE_LIMIT_RESOURCE", Kind::List),
    key("engine.unload_timeout", "ADULIS_ENGINE_UNLOAD_TIMEOUT", Kind::Text),
    key("engine.max_override_bytes", "ADULIS_ENGINE_MAX_OVERRIDE_BYTES", Kind::Text),
    key("engine.backends", "ADULIS_ENGINE_BACKENDS", Kind::List),
    key("engine.graph_optimization", "ADULIS_ENGINE_GRAPH_OPTIMIZATION", Kind::Text),
    key("engine.providers", "ADULIS_ENGINE_PROVIDERS", Kind::List),
    key("engine.provider_fallback", "ADULIS_ENGINE_PROVIDER_FALLBACK", Kind::Flag),
    key("engine.arena", "ADULIS_ENGINE_ARENA", Kind::Flag),
    key("engine.optimized_cache", "ADULIS_ENGINE_OPTIMIZED_CACHE", Kind::Text),
    key("engine.onnxruntime.library", "ADULIS_ONNXRUNTIME_LIBRARY", Kind::Text),
    key("engine.onnxruntime.intra_op_threads", "ADULIS_ONNXRUNTIME_INTRA_OP_THREADS", Kind::Number),
    key("engine.onnxruntime.inter_op_threads", "ADULIS_ONNXRUNTIME_INTER_OP_THREADS", Kind::Number),
    key("engine.onnxruntime.spinning", "ADULIS_ONNXRUNTIME_SPINNING", Kind::Flag),
    key("cache.memory_bytes", "ADULIS_CACHE_MEMORY_BYTES", Kind::Text),
    key("cache.max_entry_bytes", "ADULIS_CACHE_MAX_ENTRY_BYTES", Kind::Text),
    key("cache.max_rows", "ADULIS_CACHE_MAX_ROWS", Kind::Number),
    key("cache.ttl", "ADULIS_CACHE_TTL", Kind::Text),
    key("cache.jitter_percent", "ADULIS_CACHE_JITTER_PERCENT", Kind::Number),
    key("cache.all_models", "ADULIS_CACHE_ALL_MODELS", Kind::Flag),
    key("cache.lease", "ADULIS_CACHE_LEASE", Kind::Text),
    key("cache.compress_from_bytes", "ADULIS_CACHE_COMPRESS_FROM_BYTES", Kind::Text),
    key("cache.namespace", "ADULIS_CACHE_NAMESPACE", Kind::Text),
    key("storage.cache_folder", "ADULIS_STORAGE_CACHE_FOLDER", Kind::Text),
    key("storage.max_bytes", "ADULIS_STORAGE_MAX_BYTES", Kind::Text),
    key("storage.max_downloads", "ADULIS_STORAGE_MAX_DOWNLOADS", Kind::Number),
    key("storage.timeout", "ADULIS_STORAGE_TIMEOUT", Kind::Text),
    key("storage.mirror_timeout", "ADULIS_STORAGE_MIRROR_TIMEOUT", Kind::Text),
    key("storage.max_retries", "ADULIS_STORAGE_MAX_RETRIES", Kind::Number),
    key("storage.allow_http", "ADULIS_STORAGE_ALLOW_HTTP", Kind::Flag),
    key("storage.s3.endpoint", "ADULIS_STORAGE_S3_ENDPOINT", Kind::Text),
    key("storage.s3.region", "ADULIS_STORAGE_S3_REGION", Kind::Text),
    key("storage.s3.virtual_hosted_style", "ADULIS_STORAGE_S3_VIRTUAL_HOSTED_STYLE", Kind::Flag),
    key("storage.gcs.endpoint", "ADULIS_STORAGE_GCS_ENDPOINT", Kind::Text),
    key("storage.azure.endpoint", "ADULIS_STORAGE_AZURE_ENDPOINT", Kind::Text),
    key("shared_memory.enabled", "ADULIS_SHARED_MEMORY_ENABLED", Kind::Flag),
    key("shared_memory.key_prefix", "ADULIS_SHARED_MEMORY_KEY_PREFIX", Kind::Text),
    key("shared_memory.max_regions", "ADULIS_SHARED_MEMORY_MAX_REGIONS", Kind::Number),
    key("shared_memory.max_bytes", "ADULIS_SHARED_MEMORY_MAX_BYTES", Kind::Text),
    key("shared_memory.max_request_bytes", "ADULIS_SHARED_MEMORY_MAX_REQUEST_BYTES", Kind::Text),
    key("store.url", "ADULIS_STORE_URL", Kind::Text),
    key("store.usage", "ADULIS_STORE_USAGE", Kind::Flag),
    key("store.usage_interval", "ADULIS_STORE_USAGE_INTERVAL", Kind::Text),
    key("store.shutdown_timeout", "ADULIS_STORE_SHUTDOWN_TIMEOUT", Kind::Text),
    key("store.lookup", "ADULIS_STORE_LOOKUP", Kind::Flag),
    key("store.pool.min_connections", "ADULIS_STORE_POOL_MIN_CONNECTIONS", Kind::Number),
    key("store.pool.max_connections", "ADULIS_STORE_POOL_MAX_CONNECTIONS", Kind::Number),
    key("store.pool.acquire_timeout", "ADULIS_STORE_POOL_ACQUIRE_TIMEOUT", Kind::Text),
    key("store.pool.idle_timeout", "ADULIS_STORE_POOL_IDLE_TIMEOUT", Kind::Text),
    key("store.pool.max_lifetime", "ADULIS_STORE_POOL_MAX_LIFETIME", Kind::Text),
    key("store.pool.test_before_acquire", "ADULIS_STORE_POOL_TEST_BEFORE_ACQUIRE", Kind::Flag),
    key("store.pool.statement_timeout", "ADULIS_STORE_POOL_STATEMENT_TIMEOUT", Kind::Text),
    key("inference_log.sample_rate", "ADULIS_INFERENCE_LOG_SAMPLE_RATE", Kind::Share),
    key("inference_log.capture", "ADULIS_INFERENCE_LOG_CAPTURE", Kind::Text),
    key("inference_log.max_payload_bytes", "ADULIS_INFERENCE_LOG_MAX_PAYLOAD_BYTES", Kind::Text),
    key("inference_log.redact", "ADULIS_INFERENCE_LOG_REDACT", Kind::List),
    key("inference_log.queue_records", "ADULIS_INFERENCE_LOG_QUEUE_RECORDS", Kind::Number),
    key("inference_log.queue_bytes", "ADULIS_INFERENCE_LOG_QUEUE_BYTES", Kind::Text),
    key("inference_log.batch_records", "ADULIS_INFERENCE_LOG_BATCH_RECORDS", Kind::Number),
    key("inference_log.flush_interval", "ADULIS_INFERENCE_LOG_FLUSH_INTERVAL", Kind::Text),
    key("inference_log.max_age", "ADULIS_INFERENCE_LOG_MAX_AGE", Kind::Text),
    key("inference_log.max_records", "ADULIS_INFERENCE_LOG_MAX_RECORDS", Kind::Number),
    key("metrics.triton_names", "ADULIS_METRICS_TRITON_NAMES", Kind::Flag),
    key("log.format", "ADULIS_LOG_FORMAT", Kind::Text),
    key("log.filter", "ADULIS_LOG_FILTER", Kind::Text),
    key("log.access", "ADULIS_LOG_ACCESS", Kind::Flag),
    key("trace.file", "ADULIS_TRACE_FILE", Kind::Text),
    key("trace.level", "ADULIS_TRACE_LEVEL", Kind::List),
    key("trace.rate", "ADULIS_TRACE_RATE", Kind::Number),
    key("trace.count", "ADULIS_TRACE_COUNT", Kind::Number),
    key("trace.log_frequency", "ADULIS_TRACE_LOG_FREQUENCY", Kind::Number),
    key("trace.mode", "ADULIS_TRACE_MODE", Kind::Text),
    key("sagemaker.enabled", "ADULIS_SAGEMAKER_ENABLED", Kind::Flag),
    key("sagemaker.port", "ADULIS_SAGEMAKER_PORT", Kind::Number),
    key("sagemaker.model", "ADULIS_SAGEMAKER_MODEL", Kind::Text),
    key("vertex_ai.enabled", "ADULIS_VERTEX_AI_ENABLED", Kind::Flag),
    key("vertex_ai.port", "ADULIS_VERTEX_AI_PORT", Kind::Number),
    key("vertex_ai.health_route", "ADULIS_VERTEX_AI_HEALTH_ROUTE", Kind::Text),
    key("vertex_ai.predict_route", "ADULIS_VERTEX_AI_PREDICT_ROUTE", Kind::Text),
    key("vertex_ai.model", "ADULIS_VERTEX_AI_MODEL", Kind::Text),
];

/// Variables that the platforms set, and the variables of ours that they are weaker forms of.
pub(super) const PLATFORM_VARIABLES: &[(&str, &str)] = &[
    ("SAGEMAKER_BIND_TO_PORT", "ADULIS_SAGEMAKER_PORT"),
    ("SAGEMAKER_TRITON_DEFAULT_MODEL_NAME", "ADULIS_SAGEMAKER_MODEL"),
    ("AIP_HTTP_PORT", "ADULIS_VERTEX_AI_PORT"),
    ("AIP_HEALTH_ROUTE", "ADULIS_VERTEX_AI_HEALTH_ROUTE"),
    ("AIP_PREDICT_ROUTE", "ADULIS_VERTEX_AI_PREDICT_ROUTE"),
];

/// Variables that are read elsewhere.
pub(super) const OTHER_VARIABLES: &[&str] = &["ADULIS_CONFIG", "ADULIS_CACHE_DIR", "ADULIS_DATA_DIR"];
