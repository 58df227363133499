use adulis_repository::{FalseTrue, InitialState, SequenceControl, TensorConfig};

use super::*;

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: ShapePattern::new(shape), optional: false }
}

fn state() -> SequenceState {
    SequenceState {
        input_name: "SUM_IN".to_owned(),
        output_name: "SUM_OUT".to_owned(),
        datatype: DataType::Fp32,
        dims: vec![-1],
        initial: None,
        use_same_buffer: false,
    }
}

fn batching() -> SequenceBatching {
    SequenceBatching {
        control_inputs: vec![SequenceControl {
            name: "START".to_owned(),
            kind: ControlKind::Start(FalseTrue::Int32([0, 1])),
        }],
        states: vec![state()],
        ..SequenceBatching::default()
    }
}

fn inputs() -> Vec<TensorSpec> {
    vec![
        spec("START", DataType::Int32, &[-1, 1]),
        spec("X", DataType::Fp32, &[-1, 4]),
        spec("SUM_IN", DataType::Fp32, &[-1, 4]),
    ]
}

fn outputs() -> Vec<TensorSpec> {
    vec![
        spec("SUM_OUT", DataType::Fp32, &[-1, 4]),
        spec("Y", DataType::Fp32, &[-1, 4]),
    ]
}

fn derive(
    batching: &SequenceBatching,
    inputs: &[TensorSpec],
    declared_outputs: &[TensorConfig],
) -> Result<SequencePlan, String> {
    let outputs = outputs();
    let model = Model { inputs, outputs: &outputs, declared_outputs, max_rows: Some(8), instances: 2 };
    SequencePlan::derive(batching, model, &Settings::default()).map_err(|error| error.to_string())
}

/// With an initial state of four elements, as the model has them.
fn zeros() -> SequenceBatching {
    let mut batching = batching();
    batching.states[0].initial =
        Some(InitialState { name: String::new(), dims: vec![4], data: InitialData::Zero });
    batching
}

#[test]
fn clients_see_what_the_server_does_not_fill_in_or_keep() {
    let plan = derive(&zeros(), &inputs(), &[]).unwrap();
    assert_eq!((&plan.inputs[..], &plan.outputs[..], plan.all_outputs), (&[1][..], &[1][..], 2));
    assert_eq!((plan.policy.instances, plan.policy.slots, plan.has_fixed_rows), (2, 8, true));
    let state = &plan.states[0];
    assert_eq!((state.input, state.output, &state.shape), (2, 0, &ShapePattern::new(&[-1, 4])));
    assert_eq!(state.initial.shape(), &Shape::from([1, 4]));
    let declared = [
        TensorConfig::new("SUM_OUT", DataType::Fp32, [4]),
        TensorConfig::new("Y", DataType::Fp32, [4]),
    ];
    assert_eq!(
        derive(&zeros(), &inputs(), &declared).unwrap().outputs,
        [0, 1],
        "a declared state is answered"
    );
}

#[test]
fn a_control_must_take_one_element_for_each_row() {
    let refused = |inputs: &[TensorSpec]| derive(&zeros(), inputs, &[]).unwrap_err();
    let mut inputs = inputs();
    inputs[0].shape = ShapePattern::new(&[-1, 2]);
    let key = "sequence_batching control input 'START'";
    assert_eq!(
        refused(&inputs),
        format!("{key}: the model has [-1,2]: it does not take one element for each row")
    );
    inputs[0].shape = ShapePattern::new(&[-1]);
    assert_eq!(derive(&zeros(), &inputs, &[]).unwrap().controls[0].row, Shape::from([1]));
    inputs[0].datatype = DataType::Bool;
    assert_eq!(refused(&inputs), format!("{key}: configured as INT32, the model has BOOL"));
    inputs[0].name = "BEGIN".into();
    assert_eq!(
        refused(&inputs),
        format!("{key}: the model has no input 'START'; it has BEGIN, X, SUM_IN")
    );
}

#[test]
fn a_state_must_fit_the_model_and_so_must_what_it_begins_with() {
    let refused = |batching: &SequenceBatching| derive(batching, &inputs(), &[]).unwrap_err();
    let key = "sequence_batching state 'SUM_IN'";
    let open = derive(&batching(), &inputs(), &[]).unwrap();
    assert_eq!(open.states[0].initial.shape(), &Shape::from([1, 4]), "as the model has it");
    let mut other = zeros();
    other.states[0].initial.as_mut().unwrap().dims = vec![3];
    let short = refused(&other);
    assert_eq!(short, format!("{key}: the initial state is [1,3], the model takes [-1,4]"));
    let mut other = zeros();
    other.states[0].datatype = DataType::Int32;
    let datatype = refused(&other);
    assert_eq!(
        datatype,
        format!("{key}: configured as INT32 [-1,-1], but 'SUM_IN' of the model is FP32 [-1,4]")
    );
    other.states[0].output_name = "Z".to_owned();
    assert_eq!(refused(&other), format!("{key}: the model has no output 'Z'; it has SUM_OUT, Y"));
}

#[test]
fn a_state_may_begin_with_the_bytes_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("first.bin");
    let mut from_file = zeros();
    let data = InitialData::File(file.clone());
    from_file.states[0].initial = Some(InitialState { name: String::new(), dims: vec![4], data });
    let missing = derive(&from_file, &inputs(), &[]).unwrap_err();
    assert!(
        missing.starts_with("sequence_batching state 'SUM_IN': ") && missing.contains("first.bin"),
        "{missing}"
    );
    fs::write(&file, [0; 15]).unwrap();
    let short = derive(&from_file, &inputs(), &[]).unwrap_err();
    assert!(short.ends_with("the initial state: expected 16 bytes for FP32 [1,4], got 15"), "{short}");
    fs::write(&file, [1; 16]).unwrap();
    let plan = derive(&from_file, &inputs(), &[]).unwrap();
    assert_eq!(&plan.states[0].initial.data()[..], [1; 16]);
}
