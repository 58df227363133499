//! The example models' configurations as clients get them: what their files leave open is completed from the models.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use adulis::types::{ModelConfigDocument, ModelRef};
use adulis::{Adulis, Settings};
use adulis_protocol::grpc::ModelConfig;
use adulis_protocol::grpc::model_config::SchedulingChoice;
use prost::Message as _;
use serde_json::{Value, json};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models")
}

/// Serves one model with the engine that needs no library.
fn document(path: impl Into<PathBuf>, model: &str) -> ModelConfigDocument {
    let settings = Settings { backend_order: vec!["tract".into()], ..Settings::default() };
    let adulis = Adulis::builder().settings(settings).models(path).build().unwrap();
    adulis.load();
    adulis.service().model_config(&ModelRef::latest(model)).unwrap()
}

fn told(document: &ModelConfigDocument) -> Value {
    serde_json::from_slice(&document.json).unwrap()
}

#[test]
fn a_model_without_a_configuration_is_completed_from_its_file() {
    let document = document(examples().join("digits"), "digits");
    let json = told(&document);
    assert_eq!(json["name"], "digits");
    assert_eq!((&json["backend"], &json["platform"]), (&json!("tract"), &json!("tract_onnx")));
    assert_eq!(json["max_batch_size"], 64);
    assert_eq!(json["input"][0]["name"], "image");
    assert_eq!(json["input"][0]["data_type"], "TYPE_FP32");
    assert_eq!(json["input"].as_array().unwrap().len(), 1);
    assert_eq!(json["output"][0]["name"], "probabilities");
    assert_eq!(json["output"][0]["dims"], json!([10]));
    assert_eq!(json["output"][1]["data_type"], "TYPE_INT64");
    assert!(
        json["dynamic_batching"].is_object(),
        "requests share batches, and clients look for it: {json}"
    );
    assert_eq!(json["instance_group"][0]["kind"], "KIND_CPU");

    let message = ModelConfig::decode(document.protobuf).unwrap();
    assert_eq!(message.max_batch_size, Some(64));
    assert_eq!(message.input[0].dims.len(), json["input"][0]["dims"].as_array().unwrap().len());
    assert!(matches!(message.scheduling_choice, Some(SchedulingChoice::DynamicBatching(_))));
    assert_eq!(message.default_model_filename, "model.onnx");
}

#[test]
fn what_a_configuration_says_is_not_derived() {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("simple");
    std::fs::create_dir_all(model.join("1")).unwrap();
    std::fs::copy(examples().join("simple/1/model.onnx"), model.join("1/model.onnx")).unwrap();
    let config = std::fs::read_to_string(examples().join("simple/config.pbtxt")).unwrap();
    std::fs::write(model.join("config.pbtxt"), config.replace("onnxruntime_onnx", "tract_onnx")).unwrap();

    let json = told(&document(&model, "simple"));
    assert_eq!(json["max_batch_size"], 8);
    assert!(json["dynamic_batching"].is_null(), "it was not asked for: {json}");
    let input = json!({
        "name": "INPUT0", "data_type": "TYPE_INT32", "format": "FORMAT_NONE", "dims": [16], "is_shape_tensor": false,
        "allow_ragged_batch": false, "optional": false, "is_non_linear_format_io": false
    });
    assert_eq!(json["input"][0], input);
    assert_eq!(json["output"].as_array().unwrap().len(), 2);
}

#[test]
fn a_model_without_a_file_has_a_configuration_too() {
    let json = told(&document(examples().join("identity"), "identity"));
    assert_eq!((&json["backend"], &json["max_batch_size"]), (&json!("identity"), &json!(64)));
    assert_eq!(json["default_model_filename"], "");
}

#[test]
fn a_model_that_is_not_there_has_none() {
    let adulis = Adulis::builder().models(examples().join("identity")).build().unwrap();
    adulis.load();
    let error = adulis.service().model_config(&ModelRef::latest("none")).unwrap_err();
    assert_eq!(error.kind(), adulis::types::ErrorKind::NotFound);
}
