//! The pure-Rust engine with real models.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests; clippy sees that in `#[test]` functions only"
)]

#[path = "../../onnx/tests/suite/mod.rs"]
mod suite;

use adulis_backend::{Backend, BackendError, EngineOptions, ExecutionProvider, GraphOptimization};
use adulis_tensor::DataType;
use adulis_tract::Tract;
use suite::{floats, floats_of, load, load_error, path_of, request, run, strings, tensor};

#[test]
fn adds_and_subtracts() {
    suite::adds_and_subtracts(&Tract);
}

#[test]
fn hands_datatypes_through() {
    let fixed: Vec<_> = DataType::ALL
        .into_iter()
        .filter(|datatype| ![DataType::Bytes, DataType::Bf16].contains(datatype))
        .collect();
    suite::hands_datatypes_through(&Tract, &fixed);
}

#[test]
fn hands_byte_strings_through() {
    suite::hands_byte_strings_through(&Tract, &[b"one", b"", b"\x00", "ä".as_bytes(), &[7; 300]]);
}

#[test]
fn outputs_outlive_the_run() {
    suite::outputs_outlive_the_run(&Tract);
}

#[test]
fn outputs_never_borrow_inputs() {
    suite::outputs_never_borrow_inputs(&Tract);
}

#[test]
fn batches_agree_with_rows() {
    suite::batches_agree_with_rows(&Tract);
}

#[test]
fn scalars_and_empty_tensors() {
    suite::scalars_and_empty_tensors(&Tract);
}

#[test]
fn signatures_tell_what_batches() {
    suite::signatures_tell_what_batches(&Tract);
}

#[test]
fn a_failing_run_fails_alone() {
    suite::a_failing_run_fails_alone(&Tract);
}

#[test]
fn bad_files_are_refused() {
    suite::bad_files_are_refused(&Tract);
}

#[test]
fn truncated_files_never_crash() {
    suite::truncated_files_never_crash(&Tract);
}

#[test]
fn flipped_bits_never_crash() {
    suite::flipped_bits_never_crash(&Tract);
}

#[test]
fn what_the_engine_lacks_is_named() {
    let bf16 = load_error(&Tract, &path_of("identity_bf16"));
    assert_eq!(
        bf16.to_string(),
        "not supported: input \"INPUT0\" is of bfloat16; supported are tensors of the protocol's datatypes but BF16"
    );
    assert!(matches!(load_error(&Tract, &path_of("sequence")), BackendError::Unsupported { .. }));
    assert!(matches!(load_error(&Tract, &path_of("float8")), BackendError::Unsupported { .. }));
}

#[test]
fn strings_that_are_no_utf8_fail_by_name() {
    let model = load(&Tract, "identity_bytes");
    let error = run(&*model, &[strings(&[1, 2], &[b"a", b"\xff"])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "execution failed: input \"INPUT0\": element 1 is not UTF-8, which this engine needs"
    );
}

#[test]
fn flags_other_than_0_and_1_become_1() {
    let model = load(&Tract, "identity_bool");
    let flags = tensor(DataType::Bool, &[1, 4], vec![0, 1, 2, 255]);
    assert_eq!(run(&*model, &[flags]).unwrap().outputs[0].data()[..], [0, 1, 1, 1]);
}

#[test]
fn inputs_with_an_initialiser_keep_it() {
    let model = load(&Tract, "optional");
    assert_eq!(model.signature().inputs.len(), 1);
    let answer = run(&*model, &[floats(&[1, 2], &[1.0, 2.0])]).unwrap();
    assert_eq!(floats_of(&answer.outputs[0]), [11.0, 22.0]);
}

#[test]
fn other_providers_are_refused_or_skipped() {
    let mut options = EngineOptions {
        providers: vec![ExecutionProvider { name: "cuda".to_owned(), options: Default::default() }],
        ..EngineOptions::default()
    };
    let error = Tract.load(&request(path_of("mlp"), options.clone())).err().unwrap();
    assert_eq!(
        error.to_string(),
        "engine option execution provider \"cuda\": this engine runs on the CPU only"
    );
    options.provider_fallback = true;
    assert!(Tract.load(&request(path_of("mlp"), options)).is_ok());
}

#[test]
fn every_optimisation_level_gives_the_same_answer() {
    let row = floats(&[2, 64], &[0.25; 128]);
    let answers: Vec<_> = [
        GraphOptimization::Disabled,
        GraphOptimization::Basic,
        GraphOptimization::Extended,
        GraphOptimization::All,
    ]
    .into_iter()
    .map(|graph_optimization| {
        let options = EngineOptions { graph_optimization, ..EngineOptions::default() };
        let model = Tract.load(&request(path_of("mlp"), options)).unwrap();
        floats_of(&run(&*model, std::slice::from_ref(&row)).unwrap().outputs[0])
    })
    .collect();
    for answer in &answers {
        for (one, other) in answer.iter().zip(&answers[0]) {
            assert!((one - other).abs() < 1e-5, "{answers:?}");
        }
    }
}
