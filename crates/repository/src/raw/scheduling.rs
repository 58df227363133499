use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawDynamicBatching {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) preferred_batch_size: Vec<i64>,
    pub(crate) max_queue_delay_microseconds: Option<i64>,
    /// TOML only: the same as people write it, `"500us"`.
    pub(crate) max_queue_delay: Option<String>,
    pub(crate) preserve_ordering: bool,
    pub(crate) priority_levels: Option<i64>,
    pub(crate) default_priority_level: Option<i64>,
    pub(crate) default_queue_policy: Option<RawQueuePolicy>,
    pub(crate) priority_queue_policy: BTreeMap<String, RawQueuePolicy>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawQueuePolicy {
    pub(crate) timeout_action: Option<String>,
    pub(crate) default_timeout_microseconds: Option<i64>,
    /// TOML only: the same as people write it, `"100ms"`.
    pub(crate) default_timeout: Option<String>,
    pub(crate) allow_timeout_override: bool,
    pub(crate) max_queue_size: Option<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawSequenceBatching {
    pub(crate) max_sequence_idle_microseconds: Option<i64>,
    /// TOML only: the same as people write it, `"5s"`.
    pub(crate) max_sequence_idle: Option<String>,
    pub(crate) direct: Option<RawDirect>,
    pub(crate) oldest: Option<RawOldest>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) control_input: Vec<RawControlInput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) state: Vec<RawState>,
    pub(crate) iterative_sequence: Option<bool>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawDirect {
    pub(crate) max_queue_delay_microseconds: Option<i64>,
    /// TOML only.
    pub(crate) max_queue_delay: Option<String>,
    pub(crate) minimum_slot_utilization: Option<f64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawOldest {
    pub(crate) max_candidate_sequences: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) preferred_batch_size: Vec<i64>,
    pub(crate) max_queue_delay_microseconds: Option<i64>,
    /// TOML only.
    pub(crate) max_queue_delay: Option<String>,
    pub(crate) preserve_ordering: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawControlInput {
    pub(crate) name: Option<String>,
    pub(crate) control: Vec<RawControl>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawControl {
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) int32_false_true: Vec<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fp32_false_true: Vec<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) bool_false_true: Vec<bool>,
    pub(crate) data_type: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawState {
    pub(crate) input_name: Option<String>,
    pub(crate) output_name: Option<String>,
    pub(crate) data_type: Option<String>,
    pub(crate) dims: Vec<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) initial_state: Vec<RawInitialState>,
    pub(crate) use_same_buffer_for_input_output: Option<bool>,
    pub(crate) use_growable_memory: Option<bool>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawInitialState {
    pub(crate) name: Option<String>,
    pub(crate) data_type: Option<String>,
    pub(crate) dims: Vec<i64>,
    pub(crate) zero_data: Option<bool>,
    pub(crate) data_file: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawEnsemble {
    pub(crate) max_inflight_requests: Option<i64>,
    pub(crate) step: Vec<RawStep>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawStep {
    pub(crate) model_name: Option<String>,
    pub(crate) model_version: Option<i64>,
    pub(crate) model_namespace: Option<String>,
    pub(crate) input_map: BTreeMap<String, String>,
    pub(crate) output_map: BTreeMap<String, String>,
}
