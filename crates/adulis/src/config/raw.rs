use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::auth::{RawAudit, RawAuth};
use super::cache::RawCache;
use super::compression::RawCompression;
use super::cors::RawCors;
use super::http2::RawHttp2;
use super::inference_log::RawInferenceLog;
use super::lookup::RawLookup;
use super::metrics::RawMetrics;
use super::quotas::{RawQuotaState, RawQuotas};
use super::shared_memory::RawSharedMemory;
use super::storage::RawStorage;
use super::store::RawStore;
use super::supervisor::RawSupervisor;
use super::tls::RawTls;
use super::trace::RawTrace;
use super::workers::RawWorkers;

/// `adulis.toml` as it is written. What is absent keeps its default.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) repositories: Option<Vec<PathBuf>>,
    pub(super) strict_readiness: Option<bool>,
    pub(super) model_control_mode: Option<String>,
    pub(super) load_model: Option<Vec<String>>,
    pub(super) repository_poll_seconds: Option<i64>,
    pub(super) server: RawServer,
    pub(super) auth: RawAuth,
    pub(super) audit: RawAudit,
    pub(super) tls: RawTls,
    pub(super) quotas: RawQuotas,
    pub(super) quota_state: RawQuotaState,
    pub(super) engine: RawEngine,
    pub(super) workers: RawWorkers,
    pub(super) supervisor: RawSupervisor,
    pub(super) cache: RawCache,
    pub(super) storage: RawStorage,
    pub(super) shared_memory: RawSharedMemory,
    pub(super) store: RawStore,
    pub(super) lookup: RawLookup,
    pub(super) inference_log: RawInferenceLog,
    pub(super) metrics: RawMetrics,
    pub(super) log: RawLog,
    pub(super) trace: RawTrace,
    pub(super) sagemaker: RawSageMaker,
    pub(super) vertex_ai: RawVertexAi,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    pub(super) name: Option<String>,
    pub(super) http: Option<String>,
    pub(super) grpc: Option<String>,
    pub(super) metrics: Option<String>,
    pub(super) max_connections: Option<i64>,
    pub(super) max_connections_per_peer: Option<i64>,
    pub(super) header_timeout: Option<String>,
    pub(super) body_timeout: Option<String>,
    pub(super) min_body_rate: Option<Value>,
    pub(super) max_in_flight_bytes: Option<Value>,
    pub(super) idle_timeout: Option<String>,
    pub(super) request_timeout: Option<String>,
    pub(super) max_header_bytes: Option<Value>,
    pub(super) max_body_bytes: Option<Value>,
    pub(super) max_load_bytes: Option<Value>,
    pub(super) max_grpc_message_bytes: Option<Value>,
    pub(super) max_grpc_stream_requests: Option<i64>,
    pub(super) http_header_forward_pattern: Option<String>,
    pub(super) grpc_header_forward_pattern: Option<String>,
    pub(super) lame_duck: Option<String>,
    pub(super) drain_timeout: Option<String>,
    pub(super) http2: RawHttp2,
    pub(super) compression: RawCompression,
    pub(super) cors: RawCors,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEngine {
    pub(super) execution_threads: Option<i64>,
    pub(super) load_threads: Option<i64>,
    pub(super) inline_threshold: Option<String>,
    pub(super) default_max_batch_size: Option<i64>,
    pub(super) max_queued_rows: Option<i64>,
    pub(super) admission: Option<String>,
    pub(super) max_queue_time: Option<String>,
    pub(super) max_execution_time: Option<String>,
    pub(super) max_stuck_threads: Option<i64>,
    pub(super) rate_limit: Option<String>,
    /// As `name:count` or `name:count:device`.
    pub(super) rate_limit_resource: Option<Vec<String>>,
    pub(super) unload_timeout: Option<String>,
    pub(super) max_override_bytes: Option<Value>,
    pub(super) backends: Option<Vec<String>>,
    pub(super) graph_optimization: Option<String>,
    /// Names, or tables with name and options.
    pub(super) providers: Option<Vec<Value>>,
    pub(super) provider_fallback: Option<bool>,
    pub(super) arena: Option<bool>,
    pub(super) optimized_cache: Option<PathBuf>,
    pub(super) onnxruntime: RawOnnxRuntime,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProvider {
    pub(super) name: Option<String>,
    pub(super) options: Table,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOnnxRuntime {
    pub(super) library: Option<PathBuf>,
    pub(super) intra_op_threads: Option<i64>,
    pub(super) inter_op_threads: Option<i64>,
    pub(super) spinning: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) format: Option<String>,
    pub(super) filter: Option<String>,
    pub(super) access: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSageMaker {
    pub(super) enabled: Option<bool>,
    pub(super) address: Option<String>,
    pub(super) port: Option<i64>,
    pub(super) model: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawVertexAi {
    pub(super) enabled: Option<bool>,
    pub(super) address: Option<String>,
    pub(super) port: Option<i64>,
    pub(super) health_route: Option<String>,
    pub(super) predict_route: Option<String>,
    pub(super) model: Option<String>,
}
