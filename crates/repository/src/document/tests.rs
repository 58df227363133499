use std::path::Path;

use adulis_tensor::DataType;
use prost_reflect::DynamicMessage;

use super::*;
use crate::schema::SCHEMA;
use crate::{ConfigFormat, TensorFormat};

fn completion() -> Completion {
    Completion {
        backend: Some("onnxruntime".to_owned()),
        platform: "onnxruntime_onnx".to_owned(),
        max_batch_size: 64,
        inputs: vec![TensorConfig::new("pixels", DataType::Fp32, [1, 8, 8])],
        outputs: vec![TensorConfig::new("scores", DataType::Fp32, [10])],
        merges: true,
    }
}

fn read(text: &str) -> ModelConfig {
    ModelConfig::read(ConfigFormat::Pbtxt, text, "digits", Path::new("/nowhere"))
        .unwrap()
        .config
}

/// One field a line, as `{` and `[` nest.
fn pretty(config: &ModelConfig) -> String {
    let document = config.document();
    let json: serde_json::Value = serde_json::from_slice(&document.json).unwrap();
    serde_json::to_string_pretty(&json).unwrap()
}

#[test]
fn a_model_without_configuration_is_told_as_triton_completes_it() {
    insta::assert_snapshot!(pretty(&ModelConfig::derived("digits").completed(completion())));
}

#[test]
fn what_is_configured_stays() {
    let config = read(
        r#"
        max_batch_size: 8
        version_policy { all {} }
        input { name: "pixels" data_type: TYPE_FP32 dims: [ 1, 8, 8 ] format: FORMAT_NCHW }
        output { name: "scores" data_type: TYPE_FP32 dims: [ 10 ] reshape { shape: [ 10, 1 ] } }
        instance_group [ { count: 2 kind: KIND_GPU gpus: [ 1 ] name: "own" }, { gpus: [ 0, 1 ] count: 2 } ]
        default_model_filename: "net.onnx"
        metric_tags { key: "team" value: "blue" }
        parameters { key: "enable_mem_arena" value: { string_value: "1" } }
        model_transaction_policy { decoupled: true }
        model_warmup { name: "w" batch_size: 1 inputs { key: "pixels" value { data_type: TYPE_FP32 dims: [ 1, 8, 8 ] zero_data: true } } }
        optimization { graph { level: 2 } }
        "#,
    );
    let outputs = vec![TensorConfig::new("scores", DataType::Fp32, [10, 1])];
    let completed =
        config.completed(Completion { max_batch_size: 8, merges: false, outputs, ..completion() });
    assert_eq!(completed.inputs[0].format, TensorFormat::Nchw);
    insta::assert_snapshot!(pretty(&completed));
}

#[test]
fn the_scheduler_is_told_by_what_is_there() {
    let text = r#"
        max_batch_size: 4
        sequence_batching {
          control_input { name: "START" control { int32_false_true: [ 0, 1 ] } }
          control_input { name: "ID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
          state {
            input_name: "a" output_name: "b" data_type: TYPE_FP32 dims: [ 2 ]
            initial_state { data_type: TYPE_FP32 dims: [ 2 ] zero_data: true name: "zero" }
          }
        }
    "#;
    insta::assert_snapshot!(pretty(&read(text)));
    let text = r#"
        platform: "ensemble"
        input { name: "IN" data_type: TYPE_FP32 dims: 1 }
        output { name: "OUT" data_type: TYPE_FP32 dims: 1 }
        ensemble_scheduling {
          step { model_name: "a" input_map { key: "x" value: "IN" } output_map { key: "y" value: "OUT" } }
        }
    "#;
    let ensemble = read(text).completed(Completion {
        backend: None,
        platform: "ensemble".to_owned(),
        max_batch_size: 0,
        inputs: vec![TensorConfig::new("IN", DataType::Fp32, [1])],
        outputs: vec![TensorConfig::new("OUT", DataType::Fp32, [1])],
        merges: false,
    });
    insta::assert_snapshot!(pretty(&ensemble));
}

#[test]
fn both_forms_say_the_same() {
    let document = ModelConfig::derived("digits").completed(completion()).document();
    let message = DynamicMessage::decode(SCHEMA.clone(), document.protobuf).unwrap();
    assert_eq!(json::print(&message), document.json);
    assert!(document.json.starts_with(br#"{"name":"digits","platform":"onnxruntime_onnx","#));
}

#[test]
fn a_completed_configuration_is_one() {
    let completed = ModelConfig::derived("digits").completed(completion());
    let read = ModelConfig::read_json(&completed.document().json, "digits", Path::new("/nowhere")).unwrap();
    assert_eq!((read.config, read.notes), (completed, Vec::new()));
}
