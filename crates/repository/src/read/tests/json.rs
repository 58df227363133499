//! Triton's JSON form.

use super::*;

fn read_json(text: &str) -> Result<Configured, Vec<String>> {
    let folder = folder();
    let read = ModelConfig::read_json(text.as_bytes(), "digits", folder.path());
    read.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// As Triton prints the configuration of a model that has little of its own, with every default.
pub(super) const PRINTED: &str = r#"{
  "name": "digits", "platform": "onnxruntime_onnx", "backend": "onnxruntime", "runtime": "",
  "version_policy": { "latest": { "num_versions": 1 } }, "max_batch_size": 0,
  "input": [{
    "name": "pixels", "data_type": "TYPE_FP32", "format": "FORMAT_NCHW", "dims": [1, 8, 8],
    "is_shape_tensor": false, "allow_ragged_batch": false, "optional": false, "is_non_linear_format_io": false
  }],
  "output": [{
    "name": "scores", "data_type": "TYPE_FP32", "dims": [10], "label_filename": "", "is_shape_tensor": false,
    "is_non_linear_format_io": false
  }],
  "batch_input": [], "batch_output": [],
  "instance_group": [{
    "name": "digits_0", "kind": "KIND_CPU", "count": 1, "gpus": [], "secondary_devices": [], "profile": [],
    "passive": false, "host_policy": ""
  }],
  "default_model_filename": "model.onnx", "cc_model_filenames": {}, "metric_tags": {}, "parameters": {},
  "model_warmup": [], "response_cache": { "enable": false }, "model_transaction_policy": { "decoupled": false }
}"#;

#[test]
fn what_triton_prints_is_read_without_a_word() {
    let read = read_json(PRINTED).unwrap();
    assert_eq!(read.notes, []);
    let expected = ModelConfig {
        platform: Some("onnxruntime_onnx".to_owned()),
        backend: Some("onnxruntime".to_owned()),
        max_batch_size: Some(0),
        inputs: vec![TensorConfig {
            format: crate::TensorFormat::Nchw,
            ..tensor("pixels", DataType::Fp32, &[1, 8, 8])
        }],
        outputs: vec![tensor("scores", DataType::Fp32, &[10])],
        instance_group: vec![InstanceGroup {
            name: Some("digits_0".to_owned()),
            kind: InstanceKind::Cpu,
            ..InstanceGroup::default()
        }],
        default_model_filename: Some("model.onnx".to_owned()),
        auto_complete: false,
        ..ModelConfig::derived("digits")
    };
    assert_eq!(read.config, expected);
}

#[test]
fn what_protobuf_prints_is_read_too() {
    let text = r#"{
      "maxBatchSize": "8", "runtime": null,
      "input": [{ "name": "x", "dataType": 11, "dims": ["-1", 4] }],
      "dynamicBatching": {
        "preferredBatchSize": [4, "8"], "maxQueueDelayMicroseconds": "100", "priorityLevels": 18446744073709551615
      },
      "parameters": { "intra_op_thread_count": { "string_value": "2" } },
      "versionPolicy": { "specific": { "versions": ["3"] } }
    }"#;
    let told = read_json(text).unwrap_err();
    assert_eq!(told, ["dynamic_batching.priority_levels: expected at most 1024, got 9223372036854775807"]);
    let config = read_json(&text.replace("18446744073709551615", "0")).unwrap().config;
    assert_eq!(config.max_batch_size, Some(8));
    assert_eq!(config.inputs, [tensor("x", DataType::Fp32, &[-1, 4])]);
    let batching = config.scheduling.dynamic().unwrap();
    assert_eq!(batching.preferred_batch_size, [4, 8]);
    assert_eq!(batching.max_queue_delay, Duration::from_micros(100));
    assert_eq!(config.parameters, parameters(&[("intra_op_thread_count", "2")]));
    assert_eq!(config.version_policy, VersionPolicy::Specific(vec![3]));
}

#[test]
fn every_fault_of_a_document_is_told_at_once() {
    let text = r#"{
      "max_batchsize": 8,
      "platform": 3,
      "default_model_filename": ["x"],
      "input": [{ "name": "x", "data_type": "FP32" }, { "nam": "y" }, 7],
      "output": {},
      "instance_group": [{ "count": 1.5, "kind": "KIND_TPU" }],
      "dynamic_batching": { "preferred_batch_size": [4, "many"], "preserve_ordering": "yes", "priority_levels": -1 },
      "sequence_batching": { "direct": { "minimum_slot_utilization": "half" } },
      "metric_tags": [],
      "response_cache": true,
      "version_policy": { "latest": { "num_versions": 4294967296 } }
    }"#;
    insta::assert_snapshot!(read_json(text).unwrap_err().join("\n"));
}

#[test]
fn what_is_no_configuration_at_all() {
    assert_eq!(read_json("[]").unwrap_err(), ["expected a JSON object"]);
    assert!(read_json("{").unwrap_err()[0].starts_with("is not JSON: EOF"));
    assert!(read_json(&"[".repeat(100_000)).unwrap_err()[0].contains("recursion limit"));
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(read_json(&large).unwrap_err(), ["the configuration is larger than 1 MiB"]);
    assert_eq!(read_json("{}").unwrap().config, ModelConfig::derived("digits"));
    assert_eq!(
        read_json(r#"{"name": "other"}"#).unwrap_err(),
        ["name: is \"other\", but the model's folder is \"digits\"; leave it out, or rename the folder"]
    );
}
