//! The configuration as it is written, before it is checked: the same for both kinds of file. Names are Triton's.

mod scheduling;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Value;

pub(crate) use scheduling::{
    RawControl, RawControlInput, RawDirect, RawDynamicBatching, RawEnsemble, RawInitialState, RawOldest,
    RawQueuePolicy, RawSequenceBatching, RawState, RawStep,
};

/// `ModelConfig` of the schema. Fields that have no effect here are kept as they are, to be reported.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawModel {
    pub(crate) name: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) runtime: Option<String>,
    pub(crate) default_model_filename: Option<String>,
    pub(crate) max_batch_size: Option<i64>,
    pub(crate) version_policy: Option<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parameters: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cc_model_filenames: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metric_tags: BTreeMap<String, Value>,
    pub(crate) batch_input: Option<Value>,
    pub(crate) batch_output: Option<Value>,
    pub(crate) model_operations: Option<Value>,
    pub(crate) model_transaction_policy: Option<RawTransactionPolicy>,
    pub(crate) model_repository_agents: Option<Value>,
    pub(crate) response_cache: Option<RawResponseCache>,
    pub(crate) model_metrics: Option<Value>,
    #[serde(skip_serializing_if = "RawOptimization::is_empty")]
    pub(crate) optimization: RawOptimization,
    pub(crate) dynamic_batching: Option<RawDynamicBatching>,
    pub(crate) sequence_batching: Option<RawSequenceBatching>,
    pub(crate) ensemble_scheduling: Option<RawEnsemble>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) instance_group: Vec<RawInstanceGroup>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) input: Vec<RawTensor>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) output: Vec<RawTensor>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) model_warmup: Vec<RawWarmup>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawTransactionPolicy {
    pub(crate) decoupled: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawResponseCache {
    pub(crate) enable: bool,
}

/// `ModelInput` and `ModelOutput` in one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawTensor {
    pub(crate) name: Option<String>,
    pub(crate) data_type: Option<String>,
    pub(crate) dims: Vec<i64>,
    pub(crate) format: Option<String>,
    pub(crate) reshape: Option<RawReshape>,
    pub(crate) optional: Option<bool>,
    pub(crate) label_filename: Option<String>,
    pub(crate) is_shape_tensor: Option<bool>,
    pub(crate) allow_ragged_batch: Option<bool>,
    pub(crate) is_non_linear_format_io: Option<bool>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawReshape {
    pub(crate) shape: Vec<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawInstanceGroup {
    pub(crate) name: Option<String>,
    pub(crate) count: Option<i64>,
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) gpus: Vec<i64>,
    pub(crate) profile: Option<Value>,
    pub(crate) rate_limiter: Option<RawRateLimiter>,
    pub(crate) passive: Option<bool>,
    pub(crate) secondary_devices: Option<Value>,
    pub(crate) host_policy: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawRateLimiter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<RawResource>,
    pub(crate) priority: Option<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawResource {
    pub(crate) name: Option<String>,
    pub(crate) global: bool,
    pub(crate) count: i64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawOptimization {
    pub(crate) graph: Option<RawGraph>,
    pub(crate) execution_accelerators: Option<RawAccelerators>,
    pub(crate) priority: Option<Value>,
    pub(crate) cuda: Option<Value>,
    pub(crate) input_pinned_memory: Option<Value>,
    pub(crate) output_pinned_memory: Option<Value>,
    pub(crate) gather_kernel_buffer_threshold: Option<Value>,
    pub(crate) eager_batching: Option<Value>,
}

impl RawOptimization {
    fn is_empty(&self) -> bool {
        self.graph.is_none() && self.execution_accelerators.is_none()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawGraph {
    /// A number as Triton's, or in TOML a word.
    pub(crate) level: Option<Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAccelerators {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) gpu_execution_accelerator: Vec<RawAccelerator>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cpu_execution_accelerator: Vec<RawAccelerator>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAccelerator {
    pub(crate) name: Option<String>,
    pub(crate) parameters: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawWarmup {
    pub(crate) name: Option<String>,
    pub(crate) batch_size: Option<i64>,
    pub(crate) count: Option<i64>,
    pub(crate) inputs: BTreeMap<String, RawWarmupInput>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawWarmupInput {
    pub(crate) data_type: Option<String>,
    pub(crate) dims: Vec<i64>,
    pub(crate) zero_data: Option<bool>,
    pub(crate) random_data: Option<bool>,
    pub(crate) input_data_file: Option<String>,
}
