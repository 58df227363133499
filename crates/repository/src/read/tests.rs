use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use adulis_tensor::DataType;

use super::*;
use crate::{
    Accelerator, DynamicBatching, GraphLevel, InstanceGroup, InstanceKind, Labels, Optimization, QueuePolicy,
    RateLimiter, Scheduling, TensorConfig, TimeoutAction, VersionPolicy, Warmup, WarmupData, WarmupInput,
};

mod any;
mod json;
mod properties;
mod schedulers;
mod wild;

/// A configuration as they are found in the wild, with every kind of field that has an effect.
const FULL: &str = r#"
name: "digits"
platform: "onnxruntime_onnx"
max_batch_size: 32
input [
  {
    name: "pixels"
    data_type: TYPE_FP32
    dims: [ 1, 8, 8 ]
  },
  { name: "note" data_type: TYPE_STRING dims: [ -1 ] optional: true }
]
output { name: "scores" data_type: TYPE_FP16 dims: [ 10 ] label_filename: "labels.txt" }
version_policy: { specific: { versions: [ 3, 1, 3 ] } }
instance_group [
  { count: 2 kind: KIND_CPU },
  { kind: KIND_GPU gpus: [ 0, 2 ] rate_limiter { priority: 3 } }
]
dynamic_batching {
  preferred_batch_size: [ 16, 8 ]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5000 max_queue_size: 64 }
  priority_queue_policy { key: 1 value: { allow_timeout_override: true } }
}
optimization {
  graph { level: -1 }
  execution_accelerators {
    gpu_execution_accelerator : [ { name : "tensorrt" parameters { key: "precision_mode" value: "FP16" } } ]
    cpu_execution_accelerator { name: "openvino" }
  }
}
parameters { key: "intra_op_thread_count" value: { string_value: "2" } }
parameters { key: "enable_mem_arena" value: { string_value: "0" } }
model_warmup [
  {
    name: "one"
    batch_size: 4
    inputs { key: "pixels" value: { data_type: TYPE_FP32 dims: [ 1, 8, 8 ] random_data: true } }
    inputs { key: "note" value: { data_type: TYPE_STRING dims: [ 1 ] input_data_file: "note.bin" } }
  }
]
default_model_filename: "net.onnx"
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("labels.txt"), "0\n1\n").unwrap();
    fs::create_dir(folder.path().join("warmup")).unwrap();
    fs::write(folder.path().join("warmup/note.bin"), [0, 0, 0, 0]).unwrap();
    folder
}

fn read(format: ConfigFormat, text: &str) -> Configured {
    let folder = folder();
    ModelConfig::read(format, text, "digits", folder.path()).unwrap()
}

fn faults(format: ConfigFormat, text: &str) -> Vec<String> {
    let folder = folder();
    let read = ModelConfig::read(format, text, "digits", folder.path());
    read.unwrap_err().iter().map(ToString::to_string).collect()
}

fn parameters(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn tensor(name: &str, datatype: DataType, dims: &[i64]) -> TensorConfig {
    TensorConfig::new(name, datatype, dims)
}

#[test]
fn every_field_of_a_full_configuration() {
    let folder = folder();
    let read = ModelConfig::read(ConfigFormat::Pbtxt, FULL, "digits", folder.path()).unwrap();
    assert_eq!(read.notes, []);
    let expected = ModelConfig {
        backend: Some("onnxruntime".to_owned()),
        platform: Some("onnxruntime_onnx".to_owned()),
        max_batch_size: Some(32),
        inputs: vec![
            tensor("pixels", DataType::Fp32, &[1, 8, 8]),
            TensorConfig { optional: true, ..tensor("note", DataType::Bytes, &[-1]) },
        ],
        outputs: vec![TensorConfig {
            label_filename: Some("labels.txt".to_owned()),
            labels: Some(Arc::new(Labels::read(&folder.path().join("labels.txt")).unwrap())),
            ..tensor("scores", DataType::Fp16, &[10])
        }],
        version_policy: VersionPolicy::Specific(vec![1, 3]),
        instance_group: full_groups(),
        scheduling: Scheduling::Dynamic(full_batching()),
        warmup: vec![full_warmup(folder.path())],
        optimization: Optimization {
            graph_level: Some(GraphLevel::Basic),
            gpu_accelerators: vec![Accelerator {
                name: "tensorrt".to_owned(),
                parameters: parameters(&[("precision_mode", "FP16")]),
            }],
            cpu_accelerators: vec![Accelerator { name: "openvino".to_owned(), parameters: parameters(&[]) }],
            intra_op_threads: Some(2),
            arena: Some(false),
            ..Optimization::default()
        },
        parameters: parameters(&[("intra_op_thread_count", "2"), ("enable_mem_arena", "0")]),
        default_model_filename: Some("net.onnx".to_owned()),
        auto_complete: false,
        ..ModelConfig::derived("digits")
    };
    assert_eq!(read.config, expected);
    assert_eq!(expected.priority(), 3);
    let again = ModelConfig::read(ConfigFormat::Toml, &expected.to_toml(), "digits", folder.path());
    assert_eq!(again.unwrap().config, expected);
}

fn full_groups() -> Vec<InstanceGroup> {
    let cpu = InstanceGroup { count: 2, kind: InstanceKind::Cpu, ..InstanceGroup::default() };
    let gpu = InstanceGroup {
        kind: InstanceKind::Gpu,
        gpus: vec![0, 2],
        rate_limiter: Some(RateLimiter { priority: 3, ..RateLimiter::default() }),
        ..InstanceGroup::default()
    };
    vec![cpu, gpu]
}

fn full_batching() -> DynamicBatching {
    let level = QueuePolicy { allow_timeout_override: true, ..QueuePolicy::default() };
    DynamicBatching {
        preferred_batch_size: vec![8, 16],
        max_queue_delay: Duration::from_micros(100),
        preserve_ordering: false,
        priority_levels: 2,
        default_priority_level: 2,
        default_queue_policy: Some(QueuePolicy {
            timeout_action: TimeoutAction::Delay,
            default_timeout: Some(Duration::from_millis(5)),
            allow_timeout_override: false,
            max_queue_size: 64,
        }),
        priority_queue_policy: [(1, level)].into(),
    }
}

fn full_warmup(folder: &Path) -> Warmup {
    let input = |name: &str, datatype, dims: &[i64], data| WarmupInput {
        name: name.to_owned(),
        datatype,
        dims: dims.to_vec(),
        data,
    };
    let file = WarmupData::File(folder.join("warmup/note.bin"));
    Warmup {
        name: "one".to_owned(),
        batch_size: 4,
        count: 1,
        inputs: vec![
            input("note", DataType::Bytes, &[1], file),
            input("pixels", DataType::Fp32, &[1, 8, 8], WarmupData::Random),
        ],
    }
}

#[test]
fn toml_takes_fewer_lines() {
    let text = r#"
        backend = "tract"
        max_batch_size = 8
        version_policy = { latest = 2 }
        parameters = { threads = 2, fast = true, name = "x" }
        instance_group = [{ count = 2, kind = "cpu" }]
        dynamic_batching = { max_queue_delay = "2ms" }
        optimization.graph.level = "extended"
        input = [{ name = "x", data_type = "FP32", dims = [-1] }]
    "#;
    let config = read(ConfigFormat::Toml, text).config;
    assert_eq!(config.backend.as_deref(), Some("tract"));
    assert_eq!(config.version_policy, VersionPolicy::Latest(2));
    assert_eq!(config.parameters, parameters(&[("threads", "2"), ("fast", "true"), ("name", "x")]));
    assert_eq!(config.instance_group[0].kind, InstanceKind::Cpu);
    assert_eq!(config.scheduling.dynamic().unwrap().max_queue_delay, Duration::from_millis(2));
    assert_eq!(config.optimization.graph_level, Some(GraphLevel::Extended));
    assert_eq!(config.inputs, [tensor("x", DataType::Fp32, &[-1])]);
}

#[test]
fn an_empty_file_derives_everything() {
    for format in ConfigFormat::ALL {
        assert_eq!(read(format, "").config, ModelConfig::derived("digits"));
    }
}

#[test]
fn version_policies() {
    let policy = |format, text: &str| read(format, text).config.version_policy;
    for (text, expected) in [
        ("version_policy { all {} }", VersionPolicy::All),
        ("version_policy { latest { num_versions: 3 } }", VersionPolicy::Latest(3)),
        ("version_policy { latest {} }", VersionPolicy::Latest(1)),
        ("version_policy { specific { versions: 2 } }", VersionPolicy::Specific(vec![2])),
        ("version_policy {}", VersionPolicy::Latest(1)),
    ] {
        assert_eq!(policy(ConfigFormat::Pbtxt, text), expected, "{text}");
    }
    for (text, expected) in [
        ("version_policy = 'all'", VersionPolicy::All),
        ("version_policy = { specific = [4] }", VersionPolicy::Specific(vec![4])),
        ("version_policy.latest.num_versions = 2", VersionPolicy::Latest(2)),
    ] {
        assert_eq!(policy(ConfigFormat::Toml, text), expected, "{text}");
    }
    assert_eq!(
        faults(ConfigFormat::Toml, "version_policy = { latest = 0 }"),
        ["line 1: version_policy.latest: expected at least 1, got 0"]
    );
    assert_eq!(faults(ConfigFormat::Toml, "version_policy = 'newest'").len(), 1);
    assert_eq!(
        faults(ConfigFormat::Pbtxt, "version_policy { specific {} }"),
        ["version_policy.specific: names no version"]
    );
}

#[test]
fn tells_every_fault_of_a_toml_file_at_once() {
    let text = r#"name = "other"
platform = "onnxruntime_onxx"
max_batch_size = 8
default_model_filename = "../net.onnx"
sequence_batching = {}
[dynamic_batching]
prefered_batch_size = [4]
preferred_batch_size = [4, 16, 0]
max_queue_delay = "2 parsecs"
default_priority_level = 3
[dynamic_batching.default_queue_policy]
timeout_action = "DROP"
max_queue_size = -1
[[instance_group]]
kind = "KIND_CPU"
gpus = [0, 0, -1]
count = 0
[[instance_group]]
kind = "KIND_TPU"
[[input]]
name = "x"
data_type = "TYPE_FLOAT32"
dims = [-2]
[[input]]
name = "x"
[[output]]
name = "y"
data_type = "TYPE_FP32"
label_filename = "none.txt"
optional = true
[optimization]
graph.level = 7
execution_accelerators.gpu_execution_accelerator = [{}]
[parameters]
intra_op_thread_count = "many"
list = [1]
[[model_warmup]]
batch_size = 9
inputs.x = { data_type = "FP32", dims = [99999999, 99999999], zero_data = true, random_data = true }
"#;
    insta::assert_snapshot!(faults(ConfigFormat::Toml, text).join("\n"));
}

#[test]
fn tells_every_fault_of_a_pbtxt_file_at_once() {
    let text = r#"
        platform: "ensemble"
        ensemble_scheduling { step [] }
        max_batch_size: -1
        batch_input { kind: BATCH_ITEM_SHAPE }
        model_operations { op_library_filename: "x.so" }
        model_transaction_policy { decoupled: true }
        model_repository_agents { agents { name: "checksum" } }
        runtime: "x.so"
        cc_model_filenames { key: "7.5" value: "x" }
        instance_group { profile: "1" passive: true secondary_devices {} rate_limiter { resources { name: "R" } } }
        input { name: "x" data_type: TYPE_FP32 reshape { shape: [] } is_shape_tensor: true allow_ragged_batch: true }
        output { data_type: TYPE_INVALID is_non_linear_format_io: true }
    "#;
    insta::assert_snapshot!(faults(ConfigFormat::Pbtxt, text).join("\n"));
}

#[test]
fn harmless_fields_are_noted() {
    let text = r#"
        metric_tags { key: "team" value: "x" }
        response_cache { enable: true }
        model_metrics { metric_control {} }
        input { name: "x" data_type: TYPE_FP32 dims: 3 format: FORMAT_NCHW }
        optimization { cuda { graphs: true } eager_batching: true priority: PRIORITY_MAX }
        instance_group { host_policy: "cpu" name: "group" }
        max_batch_size: 0
        dynamic_batching {}
    "#;
    let read = read(ConfigFormat::Pbtxt, text);
    assert_eq!(read.config.scheduling, Scheduling::Unconfigured);
    let notes: Vec<String> = read.notes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(notes.join("\n"));
}

#[test]
fn an_order_cannot_be_kept_among_requests_that_overtake() {
    let text = "dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }";
    assert_eq!(
        faults(ConfigFormat::Pbtxt, text),
        [
            "dynamic_batching.preserve_ordering: does not go together with priority levels; leave one of them out"
        ]
    );
    let text = "dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY \
                default_timeout_microseconds: 1 } }";
    assert_eq!(faults(ConfigFormat::Pbtxt, text).len(), 1);
}

#[test]
fn platform_and_backend() {
    let read = |text: &str| read(ConfigFormat::Toml, text).config.backend;
    assert_eq!(read("platform = 'tract_onnx'").as_deref(), Some("tract"));
    assert_eq!(read("backend = 'mine'\nplatform = 'mine_v1'").as_deref(), Some("mine"));
    assert_eq!(
        faults(ConfigFormat::Toml, "backend = 'tract'\nplatform = 'onnxruntime_onnx'"),
        [
            "line 2: platform: \"onnxruntime_onnx\" is of backend \"onnxruntime\", but backend is \"tract\"; leave one of \
             them out"
        ]
    );
    assert!(faults(ConfigFormat::Toml, "platform = 'tensorrt_plan'")[0].contains("is not supported"));
}

#[test]
fn labels_are_read_with_the_configuration() {
    let repository = tempfile::tempdir().unwrap();
    let folder = repository.path().join("digits");
    fs::create_dir(&folder).unwrap();
    let read = |name: &str| {
        let text =
            format!("output {{ name: \"y\" data_type: TYPE_FP32 dims: [ 2 ] label_filename: \"{name}\" }}");
        ModelConfig::read(ConfigFormat::Pbtxt, &text, "digits", &folder)
            .map(|read| read.config.outputs[0].labels.clone().expect("labels"))
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    fs::write(repository.path().join("shared.txt"), "no\nyes\n").unwrap();
    fs::write(folder.join("own.txt"), "off\non\n").unwrap();
    fs::write(folder.join("binary.txt"), [b'a', b'\n', 0xff]).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink("../shared.txt", folder.join("inside.txt")).unwrap();
    symlink(outside.path(), folder.join("outside.txt")).unwrap();
    assert_eq!(read("own.txt").unwrap().get(1), Some("on"));
    assert_eq!(read("inside.txt").unwrap().get(1), Some("yes"));
    for (name, expected) in [
        ("outside.txt", "is a link that leads out of the repository"),
        ("binary.txt", "is not UTF-8 (line 2)"),
        ("../shared.txt", "is not the name of a file"),
    ] {
        let told = read(name).unwrap_err();
        assert!(told.contains("output[0].label_filename") && told.contains(expected), "{told}");
    }
}

#[test]
fn files_of_warm_up_and_states_must_lie_in_the_repository() {
    let repository = tempfile::tempdir().unwrap();
    let folder = repository.path().join("m");
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(repository.path().join("shared.bin"), [7]).unwrap();
    for kind in ["warmup", "initial_state"] {
        fs::create_dir_all(folder.join(kind)).unwrap();
        symlink("../../shared.bin", folder.join(kind).join("inside.bin")).unwrap();
        symlink(outside.path(), folder.join(kind).join("outside.bin")).unwrap();
    }
    let read = |file: &str| {
        let tensor = "data_type = 'UINT8', dims = [1]";
        let text = format!(
            "model_warmup = [{{ inputs.x = {{ {tensor}, input_data_file = '{file}' }} }}]\n\
             sequence_batching.state = [{{ input_name = 'a', output_name = 'b', {tensor}, \
             initial_state = [{{ {tensor}, data_file = '{file}' }}] }}]"
        );
        let read = ModelConfig::read(ConfigFormat::Toml, &text, "m", &folder);
        read.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    read("inside.bin").unwrap();
    let told = read("outside.bin").unwrap_err();
    let out = "\"outside.bin\" is a link that leads out of the repository";
    let key = "sequence_batching.state[0].initial_state[0].data_file";
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains(&format!("model_warmup[0].inputs.x.input_data_file: {out}")), "{told:?}");
    assert!(told[1].contains(&format!("{key}: {out}")), "{told:?}");
}

#[test]
fn batch_sizes_ascend_and_are_few() {
    let text = |sizes: &str| format!("parameters.batch_sizes = \"{sizes}\"\n");
    let read = |sizes: &str| read(ConfigFormat::Toml, &text(sizes)).config.optimization.batch_sizes;
    assert_eq!(read("1, 8,64"), Some(vec![1, 8, 64]));
    assert_eq!(read("Any"), Some(vec![]));
    let many = (1..=17).map(|size| size.to_string()).collect::<Vec<_>>().join(",");
    for sizes in ["", "0,1", "8,8", "8,1", "few", "1,-2", &many] {
        let told = faults(ConfigFormat::Toml, &text(sizes)).join("\n");
        assert!(told.contains("parameters.batch_sizes") && told.contains("ascending"), "{sizes}: {told}");
    }
}
