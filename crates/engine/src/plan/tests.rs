use adulis_backend::{Batching, ModelSignature, TensorSpec};
use adulis_repository::{DynamicBatching, Ensemble, ModelConfig, Scheduling, SequenceBatching, TensorConfig};
use adulis_tensor::{DataType, ShapePattern};

use super::*;

fn spec(name: &str, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        datatype: DataType::Fp32,
        shape: ShapePattern::new(shape),
        optional: false,
    }
}

fn batchable() -> ModelSignature {
    ModelSignature {
        inputs: vec![spec("x", &[-1, 4])],
        outputs: vec![spec("y", &[-1, 2])],
        batching: Batching::Possible,
    }
}

fn fixed() -> ModelSignature {
    ModelSignature {
        inputs: vec![spec("x", &[3, 4])],
        outputs: vec![spec("y", &[3])],
        batching: Batching::No,
    }
}

fn tensor(name: &str, dims: &[i64]) -> TensorConfig {
    TensorConfig::new(name, DataType::Fp32, dims)
}

fn derive(config: &ModelConfig, signature: &ModelSignature) -> Result<Plan, String> {
    Plan::derive(config, signature, &Settings::default()).map_err(|error| error.to_string())
}

#[test]
fn a_bare_model_that_can_batch_does() {
    let plan = derive(&ModelConfig::derived("m"), &batchable()).unwrap();
    assert_eq!((plan.max_rows, plan.merges, plan.unproven), (Some(64), true, true));
    let plan = plan.without_batching();
    assert_eq!((plan.max_rows, plan.merges, plan.policy.max_batch_size), (None, false, 0));
}

#[test]
fn a_bare_model_of_fixed_shape_runs_singly() {
    let plan = derive(&ModelConfig::derived("m"), &fixed()).unwrap();
    assert_eq!((plan.max_rows, plan.merges, plan.policy.max_batch_size), (None, false, 0));
}

#[test]
fn as_in_triton_batching_is_dynamic_only_where_it_says_so() {
    let mut config = ModelConfig { max_batch_size: Some(8), ..ModelConfig::derived("m") };
    let plan = derive(&config, &batchable()).unwrap();
    assert_eq!((plan.max_rows, plan.merges), (Some(8), false));
    config.scheduling = Scheduling::Dynamic(DynamicBatching::default());
    let plan = derive(&config, &batchable()).unwrap();
    assert_eq!((plan.max_rows, plan.merges, plan.policy.max_batch_size), (Some(8), true, 8));
}

#[test]
fn batching_that_the_model_cannot_do_is_refused() {
    let config = ModelConfig { max_batch_size: Some(8), ..ModelConfig::derived("m") };
    let error = derive(&config, &fixed()).unwrap_err();
    assert!(error.starts_with("max_batch_size: 8 asks for batching"), "{error}");
}

#[test]
fn declared_tensors_are_checked_and_narrow_the_model() {
    let signature = ModelSignature { inputs: vec![spec("x", &[-1, -1])], ..batchable() };
    let mut config = ModelConfig { max_batch_size: Some(8), ..ModelConfig::derived("m") };
    config.inputs = vec![tensor("x", &[4])];
    assert_eq!(derive(&config, &signature).unwrap().inputs[0].shape, ShapePattern::new(&[-1, 4]));
    config.inputs = vec![tensor("z", &[4])];
    let error = derive(&config, &signature).unwrap_err();
    assert_eq!(error, "input 'z': the model has no such input; it has x");
    config.inputs = vec![tensor("x", &[4, 4])];
    let error = derive(&config, &signature).unwrap_err();
    assert_eq!(error, "input 'x': configured shape is [-1,4,4], the model has [-1,-1]");
}

#[test]
fn the_rank_of_declared_tensors_tells_whether_the_model_batches() {
    let mut config = ModelConfig { inputs: vec![tensor("x", &[4])], ..ModelConfig::derived("m") };
    assert_eq!(derive(&config, &batchable()).unwrap().max_rows, Some(64));
    config.inputs = vec![tensor("x", &[-1, 4])];
    assert_eq!(derive(&config, &batchable()).unwrap().max_rows, None);
}

#[test]
fn what_is_not_built_yet_is_refused_before_anything_is_loaded() {
    let refused = |config: &ModelConfig| check_supported(config).map_err(|error| error.to_string());
    let mut config = ModelConfig::derived("m");
    assert_eq!(refused(&config), Ok(()));
    config.decoupled = true;
    assert_eq!(refused(&config), Ok(()));
    config.scheduling = Scheduling::Sequence(SequenceBatching::default());
    let message = "model_transaction_policy.decoupled: is not built yet for sequences";
    assert_eq!(refused(&config).unwrap_err(), message);
    let mut config = ModelConfig { inputs: vec![tensor("x", &[4])], ..ModelConfig::derived("m") };
    config.inputs[0].reshape = Some(vec![2, 2]);
    assert_eq!(refused(&config), Ok(()));
    config.scheduling = Scheduling::Ensemble(Ensemble::default());
    assert_eq!(refused(&config).unwrap_err(), "reshape: is not built yet");
}

#[test]
fn a_model_without_a_signature_is_declared_with_what_the_server_fills_in() {
    let mut config = ModelConfig {
        max_batch_size: Some(4),
        inputs: vec![tensor("x", &[4])],
        outputs: vec![tensor("y", &[2]), tensor("state_out", &[4])],
        ..ModelConfig::derived("m")
    };
    let state = adulis_repository::SequenceState {
        input_name: "state_in".to_owned(),
        output_name: "state_out".to_owned(),
        datatype: DataType::Fp32,
        dims: vec![4],
        initial: None,
        use_same_buffer: false,
    };
    let control = adulis_repository::SequenceControl {
        name: "id".to_owned(),
        kind: adulis_repository::ControlKind::CorrelationId(DataType::Bytes),
    };
    config.scheduling = Scheduling::Sequence(SequenceBatching {
        control_inputs: vec![control],
        states: vec![state],
        ..SequenceBatching::default()
    });
    let signature = declared(&config).unwrap();
    let names = |specs: &[TensorSpec]| specs.iter().map(|spec| spec.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&signature.inputs), ["x", "id", "state_in"]);
    assert_eq!(names(&signature.outputs), ["y", "state_out"]);
    let plan = derive(&config, &signature).unwrap();
    assert!(!plan.merges && plan.max_rows == Some(4));
    let (inputs, outputs) = plan.visible();
    assert_eq!(
        (names(&inputs), names(&outputs)),
        (vec!["x".to_owned()], vec!["y".to_owned(), "state_out".to_owned()])
    );
}
