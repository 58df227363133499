//! Sequences and ensembles, and what goes with them.

use super::*;
use crate::{
    ControlKind, Ensemble, EnsembleStep, FalseTrue, InitialData, InitialState, Resource, SequenceBatching,
    SequenceControl, SequenceState, SequenceStrategy, TensorFormat,
};

const SEQUENCE: &str = r#"
backend: "onnxruntime"
max_batch_size: 8
sequence_batching {
  max_sequence_idle_microseconds: 5000000
  oldest {
    max_candidate_sequences: 4
    preferred_batch_size: [ 4, 2 ]
    max_queue_delay_microseconds: 100
    preserve_ordering: true
  }
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
    { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } },
    { name: "END" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } },
    { name: "ID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } }
  ]
  state [
    {
      input_name: "STATE_IN" output_name: "STATE_OUT" data_type: TYPE_FP32 dims: [ -1, 4 ]
      initial_state { name: "first" data_type: TYPE_FP32 dims: [ 2, 4 ] data_file: "first.bin" }
      use_same_buffer_for_input_output: true
    },
    {
      input_name: "SUM_IN" output_name: "SUM_OUT" data_type: TYPE_INT32 dims: 1
      initial_state { data_type: TYPE_INT32 dims: 1 zero_data: true }
    }
  ]
}
"#;

fn sequence_folder() -> tempfile::TempDir {
    let folder = folder();
    fs::create_dir(folder.path().join("initial_state")).unwrap();
    fs::write(folder.path().join("initial_state/first.bin"), [0; 32]).unwrap();
    folder
}

fn control(name: &str, kind: ControlKind) -> SequenceControl {
    SequenceControl { name: name.to_owned(), kind }
}

fn states(folder: &Path) -> Vec<SequenceState> {
    let first = InitialState {
        name: "first".to_owned(),
        dims: vec![2, 4],
        data: InitialData::File(folder.join("initial_state/first.bin")),
    };
    vec![
        SequenceState {
            input_name: "STATE_IN".to_owned(),
            output_name: "STATE_OUT".to_owned(),
            datatype: DataType::Fp32,
            dims: vec![-1, 4],
            initial: Some(first),
            use_same_buffer: true,
        },
        SequenceState {
            input_name: "SUM_IN".to_owned(),
            output_name: "SUM_OUT".to_owned(),
            datatype: DataType::Int32,
            dims: vec![1],
            initial: Some(InitialState { name: String::new(), dims: vec![1], data: InitialData::Zero }),
            use_same_buffer: false,
        },
    ]
}

#[test]
fn every_field_of_sequence_batching() {
    let folder = sequence_folder();
    let read = ModelConfig::read(ConfigFormat::Pbtxt, SEQUENCE, "digits", folder.path()).unwrap();
    let expected = SequenceBatching {
        strategy: SequenceStrategy::Oldest {
            max_candidate_sequences: 4,
            preferred_batch_size: vec![2, 4],
            max_queue_delay: Duration::from_micros(100),
            preserve_ordering: true,
        },
        max_sequence_idle: Duration::from_secs(5),
        control_inputs: vec![
            control("START", ControlKind::Start(FalseTrue::Fp32([0.0, 1.0]))),
            control("READY", ControlKind::Ready(FalseTrue::Int32([0, 1]))),
            control("END", ControlKind::End(FalseTrue::Bool([false, true]))),
            control("ID", ControlKind::CorrelationId(DataType::Bytes)),
        ],
        states: states(folder.path()),
    };
    assert_eq!(read.config.scheduling.sequence(), Some(&expected));
    assert_eq!(read.notes, []);
    let text = read.config.to_toml();
    let again = ModelConfig::read(ConfigFormat::Toml, &text, "digits", folder.path()).unwrap();
    assert_eq!(again.config, read.config);
}

#[test]
fn sequences_in_toml_take_fewer_lines() {
    let text = r#"
        [sequence_batching]
        max_sequence_idle = "2s"
        direct = { max_queue_delay = "1ms", minimum_slot_utilization = 0.5 }
        control_input = [{ name = "START", control = [{ kind = "start", bool_false_true = [false, true] }] }]
    "#;
    let scheduling = read(ConfigFormat::Toml, text).config.scheduling;
    let expected = SequenceBatching {
        strategy: SequenceStrategy::Direct {
            max_queue_delay: Duration::from_millis(1),
            minimum_slot_utilization: 0.5,
        },
        max_sequence_idle: Duration::from_secs(2),
        control_inputs: vec![control(
            "START",
            ControlKind::Start(FalseTrue::Bool([false, true])),
        )],
        states: vec![],
    };
    assert_eq!(scheduling, Scheduling::Sequence(expected));
    for format in [
        (ConfigFormat::Toml, "sequence_batching = {}"),
        (ConfigFormat::Pbtxt, "sequence_batching {}"),
    ] {
        let scheduling = read(format.0, format.1).config.scheduling;
        assert_eq!(scheduling, Scheduling::Sequence(SequenceBatching::default()));
    }
}

#[test]
fn tells_every_fault_of_sequences() {
    let text = r#"
        max_batch_size: 4
        response_cache { enable: true }
        sequence_batching {
          iterative_sequence: true
          oldest { preferred_batch_size: 9 }
          control_input { control { kind: CONTROL_SEQUENCE_END int32_false_true: 1 } }
          control_input { name: "a" control { fp32_false_true: [ 0, 1 ] data_type: TYPE_FP32 } }
          control_input { name: "b" control { bool_false_true: [ false, true ] } }
          control_input { name: "c" }
          control_input { name: "d" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 int32_false_true: 0 } }
          state { input_name: "a" output_name: "x" data_type: TYPE_FP32 dims: [ -1, 2 ] use_growable_memory: true
            initial_state { data_type: TYPE_FP16 dims: [ 2, 3 ] } }
          state { output_name: "x" dims: -2 initial_state {} initial_state {} }
          state { input_name: "s" output_name: "t" data_type: TYPE_FP32
            initial_state { data_type: TYPE_FP32 data_file: "../a" } }
        }
    "#;
    insta::assert_snapshot!(faults(ConfigFormat::Pbtxt, text).join("\n"));
    let text = "sequence_batching = { direct = { minimum_slot_utilization = 1.5 }, oldest = {} }";
    assert_eq!(
        faults(ConfigFormat::Toml, text),
        ["line 1: sequence_batching: direct and oldest do not go together; leave one of them out"]
    );
    let text = "sequence_batching.direct.minimum_slot_utilization = 1.5";
    assert_eq!(faults(ConfigFormat::Toml, text).len(), 1);
    let text = "sequence_batching.state = [{ input_name = 'a', output_name = 'b', data_type = 'FP32', \
                initial_state = [{ data_type = 'FP32', zero_data = true, data_file = 'x' }] }]";
    let told = faults(ConfigFormat::Toml, text);
    assert!(told[0].ends_with("expected one of zero_data and data_file"), "{told:?}");
}

const ENSEMBLE: &str = r#"
platform: "ensemble"
max_batch_size: 1
input [ { name: "IMAGE" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "CLASS" data_type: TYPE_FP32 dims: [ 1000 ] }, { name: "SEGMENT" data_type: TYPE_FP32 dims: [ 3 ] } ]
ensemble_scheduling {
  step [
    {
      model_name: "classify" model_version: 2 model_namespace: "/models"
      input_map { key: "FORMATTED" value: "preprocessed" }
      output_map { key: "CLASSES" value: "CLASS" }
    },
    {
      model_name: "preprocess" model_version: -1
      input_map { key: "RAW" value: "IMAGE" }
      output_map { key: "PREPARED" value: "preprocessed" }
      output_map { key: "MASK" value: "SEGMENT" }
    }
  ]
  max_inflight_requests: 3
}
"#;

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    parameters(pairs)
}

#[test]
fn every_field_of_an_ensemble() {
    let read = read(ConfigFormat::Pbtxt, ENSEMBLE);
    let classify = EnsembleStep {
        model_name: "classify".to_owned(),
        model_version: Some(2),
        input_map: map(&[("FORMATTED", "preprocessed")]),
        output_map: map(&[("CLASSES", "CLASS")]),
        model_namespace: Some("/models".to_owned()),
    };
    let preprocess = EnsembleStep {
        model_name: "preprocess".to_owned(),
        model_version: None,
        input_map: map(&[("RAW", "IMAGE")]),
        output_map: map(&[("PREPARED", "preprocessed"), ("MASK", "SEGMENT")]),
        model_namespace: None,
    };
    let expected = Ensemble { steps: vec![classify, preprocess], max_inflight_requests: 3 };
    assert_eq!(read.config.scheduling.ensemble(), Some(&expected));
    assert_eq!(
        (read.config.platform.as_deref(), read.config.backend.as_deref()),
        (Some("ensemble"), None)
    );
    let again = ModelConfig::read(ConfigFormat::Toml, &read.config.to_toml(), "digits", Path::new("."));
    assert_eq!(again.unwrap().config, read.config);
}

#[test]
fn tells_every_fault_of_an_ensemble() {
    let text = r#"
        platform: "onnxruntime_onnx"
        backend: "onnxruntime"
        instance_group {}
        input { name: "IN" data_type: TYPE_FP32 dims: 1 }
        output { name: "OUT" data_type: TYPE_FP32 dims: 1 }
        output { name: "OTHERS" data_type: TYPE_FP32 dims: 1 }
        ensemble_scheduling {
          step { model_name: "digits" input_map { key: "x" value: "IN" } output_map { key: "y" value: "IN" } }
          step { model_version: -2 input_map { key: "x" value: "OTER" } output_map { key: "y" value: "OTHER" } }
          step { model_name: "a" input_map { key: "x" value: "OTHER" } output_map { key: "y" value: "OTHER" } }
          step { model_name: "b" }
        }
    "#;
    insta::assert_snapshot!(faults(ConfigFormat::Pbtxt, text).join("\n"));
    assert_eq!(
        faults(ConfigFormat::Toml, "platform = 'ensemble'"),
        ["ensemble_scheduling: is missing: the platform is \"ensemble\""]
    );
}

#[test]
fn steps_that_wait_for_each_other_are_found() {
    let step = |model: &str, input: &str, output: &str| {
        format!("{{ model_name = '{model}', input_map.x = '{input}', output_map.y = '{output}' }}")
    };
    let ensemble = |steps: [String; 4]| {
        format!(
            "ensemble_scheduling.step = [{}]\n\
             input = [{{ name = 'IN', data_type = 'FP32' }}]\noutput = [{{ name = 'OUT', data_type = 'FP32' }}]",
            steps.join(", ")
        )
    };
    // The first only waits for the circle of the second and the third.
    let circle = [
        step("a", "t", "OUT"),
        step("b", "u", "t"),
        step("c", "t", "u"),
        step("d", "IN", "v"),
    ];
    let told = faults(ConfigFormat::Toml, &ensemble(circle));
    assert!(
        told[0] == "line 1: ensemble_scheduling.step[1]: the step waits for its own outputs"
            || told[0] == "line 1: ensemble_scheduling.step[2]: the step waits for its own outputs",
        "{told:?}"
    );
    assert_eq!(told.len(), 1);
    let line = [
        step("a", "u", "OUT"),
        step("b", "t", "u"),
        step("c", "v", "t"),
        step("d", "IN", "v"),
    ];
    assert_eq!(
        read(ConfigFormat::Toml, &ensemble(line))
            .config
            .scheduling
            .ensemble()
            .unwrap()
            .steps
            .len(),
        4
    );
}

#[test]
fn what_schedulers_need_beside() {
    let text = r#"
        max_batch_size: 4
        model_transaction_policy { decoupled: true }
        metric_tags { key: "team" value: "blue" }
        runtime: "libtriton_onnxruntime.so"
        cc_model_filenames { key: "8.0" value: "model80.onnx" }
        input { name: "x" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] format: FORMAT_NCHW reshape { shape: [ 1, 3, 224, 224 ] } }
        output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [] } }
        instance_group {
          name: "group" host_policy: "cpu_0"
          rate_limiter { priority: 2 resources [ { name: "R" global: true count: 4 }, { name: "S" count: 1 } ] }
        }
    "#;
    let config = read(ConfigFormat::Pbtxt, text).config;
    assert!(config.decoupled && !config.response_cache);
    assert_eq!(config.metric_tags, map(&[("team", "blue")]));
    assert_eq!(config.cc_model_filenames, map(&[("8.0", "model80.onnx")]));
    assert_eq!(config.runtime.as_deref(), Some("libtriton_onnxruntime.so"));
    assert_eq!(config.inputs[0].format, TensorFormat::Nchw);
    assert_eq!(config.inputs[0].reshape, Some(vec![1, 3, 224, 224]));
    assert_eq!(config.outputs[0].reshape, Some(vec![]));
    let resource = |name: &str, global, count| Resource { name: name.to_owned(), global, count };
    let limiter =
        RateLimiter { resources: vec![resource("R", true, 4), resource("S", false, 1)], priority: 2 };
    assert_eq!(config.instance_group[0].rate_limiter, Some(limiter));
    assert_eq!(config.instance_group[0].name.as_deref(), Some("group"));
    assert_eq!(config.instance_group[0].host_policy.as_deref(), Some("cpu_0"));
    assert_eq!(read(ConfigFormat::Toml, &config.to_toml()).config, config);
    assert_eq!(
        faults(
            ConfigFormat::Toml,
            "response_cache.enable = true\nmodel_transaction_policy.decoupled = true"
        ),
        [
            "line 1: response_cache.enable: does not go together with model_transaction_policy.decoupled; leave one of \
             them out"
        ]
    );
}

#[test]
fn a_reshape_keeps_the_number_of_elements() {
    let read = |dims: &str, shape: &str| {
        let text =
            format!("input = [{{ name = 'x', data_type = 'FP32', dims = {dims}, reshape.shape = {shape} }}]");
        ModelConfig::read(ConfigFormat::Toml, &text, "digits", Path::new(".")).map(drop)
    };
    for (dims, shape) in [
        ("[6]", "[2, 3]"),
        ("[-1, 6]", "[-1, 2, 3]"),
        ("[1]", "[]"),
        ("[2, -1]", "[1, 2, -1]"),
    ] {
        assert_eq!(read(dims, shape), Ok(()), "{dims} {shape}");
    }
    for (dims, shape) in [
        ("[6]", "[2, 2]"),
        ("[-1, 6]", "[6, -1]"),
        ("[-1]", "[1]"),
        ("[2]", "[]"),
    ] {
        let told = read(dims, shape).unwrap_err();
        assert!(told[0].message.contains("has another number of elements"), "{told:?}");
    }
}
