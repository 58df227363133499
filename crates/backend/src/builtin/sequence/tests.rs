use std::path::PathBuf;

use super::*;
use crate::EngineOptions;

fn spec(name: &str, datatype: DataType) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: ShapePattern::new(&[-1, 1]), optional: false }
}

fn load(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Result<Arc<dyn Model>, BackendError> {
    Sequence.load(&LoadRequest {
        name: "sums".into(),
        version: 1,
        path: PathBuf::new(),
        declared: Some(ModelSignature { inputs, outputs, batching: Batching::Possible }),
        options: EngineOptions::default(),
    })
}

fn model(names: &[&str]) -> Box<dyn ModelInstance> {
    let inputs = names.iter().map(|name| spec(name, DataType::Int32)).collect();
    let mut outputs = vec![spec(OUTPUT, DataType::Int32)];
    if names.contains(&INPUT_STATE) {
        outputs.push(spec(OUTPUT_STATE, DataType::Int32));
    }
    load(inputs, outputs).unwrap().instance().unwrap()
}

fn column(name: &str, values: &[i32]) -> BatchInput {
    let shape = Shape::from([values.len(), 1]);
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let part = Tensor::new(DataType::Int32, shape.clone(), data.into()).unwrap();
    BatchInput { index: 0, name: name.into(), datatype: DataType::Int32, shape, parts: vec![part] }
}

fn run(instance: &mut dyn ModelInstance, columns: &[(&str, &[i32])]) -> Vec<Vec<i32>> {
    let inputs: Vec<BatchInput> = columns.iter().map(|(name, values)| column(name, values)).collect();
    instance.execute(&inputs).unwrap().outputs.iter().map(integers).collect()
}

#[test]
fn sums_are_kept_by_row_and_rows_that_are_not_ready_are_left_out() {
    let mut model = model(&["INPUT", "START", "READY"]);
    let first = [
        ("INPUT", &[5, 7, 9][..]),
        ("START", &[1, 1, 0]),
        ("READY", &[1, 1, 0]),
    ];
    assert_eq!(run(&mut *model, &first), [[5, 7, 0]]);
    let second = [
        ("INPUT", &[1, 2, 3][..]),
        ("START", &[0, 0, 1]),
        ("READY", &[0, 1, 1]),
    ];
    assert_eq!(run(&mut *model, &second), [[0, 9, 3]]);
    let third = [("INPUT", &[1, 1][..]), ("START", &[0, 1]), ("READY", &[1, 1])];
    assert_eq!(run(&mut *model, &third), [[6, 1]], "a start begins at nothing");
}

#[test]
fn sums_are_kept_by_id_wherever_its_row_is_and_the_end_adds_the_id() {
    let mut model = model(&["INPUT", "START", "END", "CORRID"]);
    let first = [
        ("INPUT", &[5, 7][..]),
        ("START", &[1, 1]),
        ("END", &[0, 0]),
        ("CORRID", &[100, 200]),
    ];
    assert_eq!(run(&mut *model, &first), [[5, 7]]);
    let last = [
        ("INPUT", &[1, 1][..]),
        ("START", &[0, 0]),
        ("END", &[1, 0]),
        ("CORRID", &[200, 100]),
    ];
    assert_eq!(run(&mut *model, &last), [[208, 6]]);
    let again = [
        ("INPUT", &[1][..]),
        ("START", &[0]),
        ("END", &[0]),
        ("CORRID", &[200]),
    ];
    assert_eq!(run(&mut *model, &again), [[1]], "what has ended is forgotten");
}

#[test]
fn a_state_that_is_handed_in_is_handed_out_and_nothing_is_kept() {
    let mut model = model(&["INPUT", "START", "INPUT_STATE"]);
    let inputs = [
        ("INPUT", &[5, 7][..]),
        ("START", &[0, 1]),
        ("INPUT_STATE", &[30, 30]),
    ];
    assert_eq!(run(&mut *model, &inputs), [[35, 7], [35, 7]]);
    assert_eq!(run(&mut *model, &inputs), [[35, 7], [35, 7]]);
}

#[test]
fn what_it_does_not_know_is_refused() {
    let refused = |inputs, outputs| load(inputs, outputs).err().unwrap().to_string();
    let output = || vec![spec("OUTPUT", DataType::Int32)];
    let odd = refused(vec![spec("INPUT", DataType::Int32), spec("X", DataType::Int32)], output());
    assert_eq!(
        odd,
        "not supported: sequence with an input 'X': it knows INPUT, START, READY, END, CORRID, INPUT_STATE"
    );
    let datatype = refused(vec![spec("INPUT", DataType::Fp32)], output());
    assert_eq!(datatype, "not supported: sequence with 'INPUT' of FP32: it takes INT32");
    assert_eq!(refused(vec![], output()), "not supported: sequence without 'INPUT'");
    let output = refused(
        vec![spec("INPUT", DataType::Int32)],
        vec![spec("OUTPUT", DataType::Int32), spec("Y", DataType::Int32)],
    );
    assert_eq!(output, "not supported: sequence with an output 'Y': it gives OUTPUT and OUTPUT_STATE");
}
