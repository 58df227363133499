//! Configurations in the styles that are found in the wild: with and without colons and commas, with `<>`, comments, keys
//! that say nothing new.

use super::*;
use crate::{Caching, ControlKind, FalseTrue, Safeguards, SequenceStrategy, TensorFormat};

fn wild(text: &str) -> ModelConfig {
    let read = read(ConfigFormat::Pbtxt, text);
    let again =
        |format, text: &str| ModelConfig::read(format, text, "digits", folder().path()).unwrap().config;
    // Files lie elsewhere in each folder, so only what needs none is compared.
    if read.config.warmup.is_empty() {
        assert_eq!(again(ConfigFormat::Pbtxt, &read.config.to_pbtxt()), read.config);
        assert_eq!(again(ConfigFormat::Toml, &read.config.to_toml()), read.config);
    }
    read.config
}

#[test]
fn an_image_classifier_of_fixed_batch() {
    let config = wild(
        r#"
name: "digits"
platform: "onnxruntime_onnx"
max_batch_size : 0
input [
  {
    name: "data_0"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 224, 224 ]
    reshape { shape: [ 1, 3, 224, 224 ] }
  }
]
output [
  {
    name: "fc6_1"
    data_type: TYPE_FP32
    dims: [ 1000 ]
    reshape { shape: [ 1, 1000, 1, 1 ] }
    label_filename: "labels.txt"
  }
]
"#,
    );
    assert_eq!(config.inputs[0].format, TensorFormat::Nchw);
    assert_eq!(config.inputs[0].reshape, Some(vec![1, 3, 224, 224]));
    assert_eq!(config.outputs[0].label_filename.as_deref(), Some("labels.txt"));
    assert_eq!((config.max_batch_size, config.auto_complete), (Some(0), false));
}

#[test]
fn a_transformer_with_priorities_on_an_accelerator() {
    let config = wild(
        r#"
# Serves the encoder.
backend: "onnxruntime", max_batch_size: 64;
input: [ < name: 'input_ids' data_type: TYPE_INT64 dims: -1 >, < name: "attention_mask", data_type: TYPE_INT64, dims: [-1] > ]
output: { name: "last_" "hidden_state" data_type: TYPE_FP16 dims: [ -1, 384 ] }
instance_group: [ { kind: KIND_GPU count: 0x2 gpus: [0] } ]
dynamic_batching: {
  preferred_batch_size: 8  preferred_batch_size: [ 16, 32 ]
  max_queue_delay_microseconds: 500,
  priority_levels: 10; default_priority_level: 5
  default_queue_policy: { timeout_action: REJECT default_timeout_microseconds: 1000000 allow_timeout_override: true max_queue_size: 128 }
  priority_queue_policy: [ { key: 1, value: { timeout_action: DELAY default_timeout_microseconds: 10 } }, { key: 2 value {} } ]
}
optimization { execution_accelerators {
  gpu_execution_accelerator : [ {
    name : "tensorrt"
    parameters { key: "precision_mode" value: "FP16" }
    parameters { key: "max_workspace_size_bytes" value: "1073741824" }
  } ]
} }
version_policy: { latest { num_versions: 2 } }
"#,
    );
    assert_eq!(config.outputs[0].name, "last_hidden_state");
    assert_eq!(config.inputs[1].dims, [-1]);
    assert_eq!(config.instance_group[0].count, 2);
    let batching = config.scheduling.dynamic().unwrap();
    assert_eq!(batching.preferred_batch_size, [8, 16, 32]);
    assert_eq!((batching.priority_levels, batching.default_priority_level), (10, 5));
    assert_eq!(batching.priority_queue_policy[&1].timeout_action, TimeoutAction::Delay);
    assert_eq!(batching.priority_queue_policy[&2], QueuePolicy::default());
    assert_eq!(config.optimization.gpu_accelerators[0].parameters.len(), 2);
    assert_eq!(config.version_policy, VersionPolicy::Latest(2));
}

#[test]
fn a_stateful_model_with_implicit_state() {
    let config = wild(
        r#"
platform: "onnxruntime_onnx"
max_batch_size: 4
sequence_batching {
  direct { max_queue_delay_microseconds: 1000 minimum_slot_utilization: 0.75 }
  max_sequence_idle_microseconds: 18446744073709551615
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ 0, 1 ] } ] }
  ]
  state [ {
    input_name: "INPUT_STATE" output_name: "OUTPUT_STATE" data_type: TYPE_INT32 dims: [ -1 ]
    initial_state: { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true name: "initial state" }
  } ]
}
input [ { name: "INPUT" data_type: TYPE_INT32 dims: [ -1 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_INT32 dims: [ -1 ] } ]
"#,
    );
    let batching = config.scheduling.sequence().unwrap();
    let SequenceStrategy::Direct { minimum_slot_utilization, .. } = &batching.strategy else {
        panic!("{batching:?}");
    };
    assert!((minimum_slot_utilization - 0.75).abs() < f32::EPSILON);
    assert_eq!(batching.control_inputs[1].kind, ControlKind::Ready(FalseTrue::Fp32([0.0, 1.0])));
    assert_eq!(batching.states[0].initial.as_ref().unwrap().name, "initial state");
}

#[test]
fn a_decoupled_model_of_another_backend() {
    let config = wild(
        r#"
name: "digits"
backend: "python"
max_batch_size: 0
model_transaction_policy { decoupled: True }
input [ { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
parameters: { key: "EXECUTION_ENV_PATH", value: { string_value: "$$TRITON_MODEL_DIRECTORY/env.tar.gz" } }
instance_group [ { count: 1 kind : KIND_MODEL } ]
"#,
    );
    assert!(config.decoupled);
    assert_eq!(config.backend.as_deref(), Some("python"));
    assert_eq!(config.parameters["EXECUTION_ENV_PATH"], "$$TRITON_MODEL_DIRECTORY/env.tar.gz");
}

#[test]
fn parameters_say_how_answers_are_kept() {
    let config = wild(
        r#"
response_cache { enable: true }
parameters { key: "response_cache_ttl" value { string_value: "1h 30m" } }
parameters { key: "response_cache_stale_while_revalidate" value { string_value: "500ms" } }
parameters { key: "response_cache_negative_ttl" value { string_value: "off" } }
parameters { key: "response_cache_row_wise" value { string_value: "false" } }
parameters { key: "response_cache_insist" value { string_value: "true" } }
"#,
    );
    let expected = Caching {
        ttl: Some(Duration::from_secs(90 * 60)),
        stale_while_revalidate: Duration::from_millis(500),
        negative_ttl: Duration::ZERO,
        row_wise: Some(false),
        insist: true,
    };
    assert_eq!(config.caching, expected);
    let text = "[parameters]\nresponse_cache_ttl = 'soon'\nresponse_cache_negative_ttl = '400days'\nresponse_cache_row_wise = 'maybe'";
    let told = [
        "line 2: parameters.response_cache_ttl: expected a duration such as \"90s\", or \"off\", got \"soon\"",
        "line 3: parameters.response_cache_negative_ttl: expected at most a year, got \"400days\"",
        "line 4: parameters.response_cache_row_wise: expected true or false, got \"maybe\"",
    ];
    assert_eq!(faults(ConfigFormat::Toml, text), told);
}

#[test]
fn parameters_say_what_keeps_a_model_from_harm() {
    let config = wild(
        r#"
parameters { key: "refuse_non_finite_outputs" value { string_value: "true" } }
parameters { key: "max_queue_time" value { string_value: "250ms" } }
parameters { key: "max_execution_time" value { string_value: "off" } }
parameters { key: "self_check_interval" value { string_value: "1m" } }
"#,
    );
    let expected = Safeguards {
        refuse_non_finite_outputs: true,
        max_queue_time: Some(Duration::from_millis(250)),
        max_execution_time: Some(Duration::ZERO),
        self_check_interval: Some(Duration::from_secs(60)),
    };
    assert_eq!(config.safeguards, expected);
    let text = "[parameters]\nrefuse_non_finite_outputs = 'perhaps'\nmax_queue_time = 'soon'";
    let told = [
        "line 2: parameters.refuse_non_finite_outputs: expected true or false, got \"perhaps\"",
        "line 3: parameters.max_queue_time: expected a duration such as \"90s\", or \"off\", got \"soon\"",
    ];
    assert_eq!(faults(ConfigFormat::Toml, text), told);
}

#[test]
fn a_cached_and_warmed_model_with_limits() {
    let config = wild(
        r#"
response_cache { enable: true }
model_warmup {
  name: "zeros" count: 3
  inputs { key: "x" value { data_type: TYPE_UINT8 dims: [ 2 ] zero_data: true } }
}
instance_group {
  kind: KIND_CPU
  rate_limiter { resources [ { name: "cores" global: True count: 2 } ] priority: 2 }
}
"#,
    );
    assert!(config.response_cache && config.caching == Caching::default());
    assert_eq!(config.warmup[0].count, 3);
    assert_eq!(config.priority(), 2);
}
