//! ONNX Runtime with real models. Needs the library: without it every test fails and says how to get it.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests; clippy sees that in `#[test]` functions only"
)]

mod suite;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use adulis_backend::{Backend, BackendError, Batching, EngineOptions, ExecutionProvider, GraphOptimization};
use adulis_onnx::{OnnxRuntime, OnnxRuntimeOptions};
use adulis_tensor::{DataType, Shape};
use suite::{floats, floats_of, input, load, load_error, path_of, request, run, tensor};

fn backend() -> OnnxRuntime {
    let backend = OnnxRuntime::new(OnnxRuntimeOptions::default());
    if let Err(error) = backend.available() {
        panic!("{error}");
    }
    backend
}

#[test]
fn adds_and_subtracts() {
    suite::adds_and_subtracts(&backend());
}

#[test]
fn hands_every_datatype_through() {
    let fixed: Vec<_> = DataType::ALL.into_iter().filter(|&datatype| datatype != DataType::Bytes).collect();
    suite::hands_datatypes_through(&backend(), &fixed);
}

#[test]
fn hands_byte_strings_through() {
    suite::hands_byte_strings_through(&backend(), &[b"one", b"", b"\x00\xff\x00", &[7; 300]]);
}

#[test]
fn outputs_outlive_the_run() {
    suite::outputs_outlive_the_run(&backend());
}

#[test]
fn outputs_never_borrow_inputs() {
    suite::outputs_never_borrow_inputs(&backend());
}

#[test]
fn batches_agree_with_rows() {
    suite::batches_agree_with_rows(&backend());
}

#[test]
fn scalars_and_empty_tensors() {
    suite::scalars_and_empty_tensors(&backend());
}

#[test]
fn signatures_tell_what_batches() {
    suite::signatures_tell_what_batches(&backend());
}

#[test]
fn a_failing_run_fails_alone() {
    suite::a_failing_run_fails_alone(&backend());
}

#[test]
fn bad_files_are_refused() {
    suite::bad_files_are_refused(&backend());
}

#[test]
fn truncated_files_never_crash() {
    suite::truncated_files_never_crash(&backend());
}

#[test]
fn flipped_bits_never_crash() {
    suite::flipped_bits_never_crash(&backend());
}

#[test]
fn inputs_with_an_initialiser_may_be_left_out() {
    let model = load(&backend(), "optional");
    let signature = model.signature();
    let optional: Vec<_> = signature.inputs.iter().map(|spec| (&*spec.name, spec.optional)).collect();
    assert_eq!(optional, [("INPUT0", false), ("INPUT1", true)]);
    assert_eq!(signature.batching, Batching::No);
    let one = floats(&[1, 2], &[1.0, 2.0]);
    let left_out = run(&*model, std::slice::from_ref(&one)).unwrap();
    assert_eq!(floats_of(&left_out.outputs[0]), [11.0, 22.0]);
    let given = run(&*model, &[one, floats(&[2], &[5.0, 5.0])]).unwrap();
    assert_eq!(floats_of(&given.outputs[0]), [6.0, 7.0]);
}

#[test]
fn flags_other_than_0_and_1_become_1() {
    let model = load(&backend(), "identity_bool");
    let flags = tensor(DataType::Bool, &[1, 4], vec![0, 1, 2, 255]);
    assert_eq!(run(&*model, &[flags]).unwrap().outputs[0].data()[..], [0, 1, 1, 1]);
}

#[test]
fn inputs_that_are_no_tensors_are_named() {
    let sequence = load_error(&backend(), &path_of("sequence"));
    assert_eq!(
        sequence.to_string(),
        "not supported: input \"INPUT0\" is a sequence; supported are tensors of the protocol's datatypes"
    );
    let float8 = load_error(&backend(), &path_of("float8"));
    assert!(float8.to_string().contains("\"INPUT0\" is of float8e4m3fn"), "{float8}");
}

#[test]
fn an_interrupt_stops_the_run_and_not_the_next() {
    let model = load(&backend(), "slow");
    let mut instance = model.instance().unwrap();
    let interrupt = instance.interrupt().unwrap();
    let steps = |count: i64| {
        vec![input(
            &*model,
            0,
            vec![tensor(DataType::Int64, &[], count.to_le_bytes().to_vec())],
        )]
    };
    // Between runs it does nothing.
    interrupt.interrupt();
    assert_eq!(instance.execute(&steps(3)).unwrap().outputs[0].shape(), &Shape::from([64, 64]));
    for _ in 0..3 {
        let stopper = thread::spawn({
            let interrupt = interrupt.clone();
            move || {
                thread::sleep(Duration::from_millis(50));
                interrupt.interrupt();
            }
        });
        let started = Instant::now();
        let error = instance.execute(&steps(1_000_000_000)).unwrap_err();
        assert!(matches!(error, BackendError::Interrupted), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        stopper.join().unwrap();
        instance.execute(&steps(3)).unwrap();
    }
}

#[test]
fn instances_run_at_the_same_time() {
    let model = load(&backend(), "mlp");
    let expected = floats_of(&run(&*model, &[floats(&[1, 64], &[0.25; 64])]).unwrap().outputs[0]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut instance = model.instance().unwrap();
                for _ in 0..200 {
                    let row = vec![floats(&[1, 64], &[0.25; 64])];
                    let execution = instance.execute(&[input(&*model, 0, row)]).unwrap();
                    assert_eq!(floats_of(&execution.outputs[0]), expected);
                }
            });
        }
    });
}

#[test]
fn a_file_that_changed_makes_no_second_instance() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::copy(path_of("identity_fp32"), &path).unwrap();
    let model = backend().load(&request(folder.path().to_path_buf(), EngineOptions::default())).unwrap();
    let _first = model.instance().unwrap();
    let _second = model.instance().unwrap();
    fs::copy(path_of("mlp"), &path).unwrap();
    let error = model.instance().err().expect("the file has changed");
    assert!(error.to_string().contains("has changed"), "{error}");
}

fn with(provider: &str, options: &[(&str, &str)], provider_fallback: bool) -> EngineOptions {
    EngineOptions {
        providers: vec![ExecutionProvider {
            name: provider.to_owned(),
            options: options.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }],
        provider_fallback,
        ..EngineOptions::default()
    }
}

#[test]
fn providers_that_cannot_run_fail_the_load_or_are_skipped() {
    let backend = backend();
    // The pinned library is built for the CPU: none of these can run with it.
    for provider in [
        "cuda", "tensorrt", "openvino", "rocm", "dnnl", "coreml", "xnnpack", "qnn", "cann", "vitisai",
    ] {
        let strict = backend.load(&request(path_of("mlp"), with(provider, &[], false)));
        let error = strict.err().unwrap_or_else(|| panic!("{provider} was taken"));
        assert!(matches!(error, BackendError::Option { .. }), "{provider}: {error:?}");
        assert!(error.to_string().contains(provider), "{error}");
        let lenient = backend.load(&request(path_of("mlp"), with(provider, &[], true))).unwrap();
        assert!(lenient.placement().starts_with("CPUExecutionProvider"), "{}", lenient.placement());
        run(&*lenient, &[floats(&[1, 64], &[0.0; 64])]).unwrap();
    }
}

#[test]
fn a_provider_that_runs_no_node_is_no_provider() {
    // In the library, and made for calls to hosted models only: the engine would leave all nodes to the CPU silently.
    let backend = backend();
    let strict = backend.load(&request(path_of("mlp"), with("azure", &[], false)));
    let error = strict.err().expect("no node can run there");
    assert!(error.to_string().contains("it runs none of the model's"), "{error}");
    let lenient = backend.load(&request(path_of("mlp"), with("azure", &[], true))).unwrap();
    assert!(lenient.placement().contains("CPUExecutionProvider"), "{}", lenient.placement());
}

#[test]
fn a_bad_file_is_a_load_error_with_fallback_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, "nothing").unwrap();
    let error = backend().load(&request(path, with("cuda", &[], true))).err().expect("not a model");
    assert!(matches!(error, BackendError::Load { .. }), "{error:?}");
}

fn entries(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn optimised_models_are_kept_and_damaged_ones_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        EngineOptions { optimized_cache: Some(folder.path().to_path_buf()), ..EngineOptions::default() };
    let row = floats(&[1, 64], &[0.5; 64]);
    let answer = || {
        let model = backend().load(&request(path_of("mlp"), options.clone())).unwrap();
        assert_eq!(&model.signature().inputs[0].shape[..], [-1, 64]);
        assert_eq!(model.signature().batching, Batching::Possible);
        floats_of(&run(&*model, std::slice::from_ref(&row)).unwrap().outputs[0])
    };
    let first = answer();
    let kept = entries(&folder);
    let [entry] = kept.as_slice() else {
        panic!("{kept:?}")
    };
    // Constants are folded: the entry holds the weights that the model's file only says how to make.
    let content = fs::read(entry).unwrap();
    assert!(content.len() > 500_000, "{}", content.len());
    assert_eq!(answer(), first);
    fs::write(entry, &content[..1000]).unwrap();
    assert_eq!(answer(), first);
    assert_eq!(fs::read(entry).unwrap().len(), content.len());
    assert_eq!(entries(&folder).len(), 1);
}

#[test]
fn a_cache_folder_that_cannot_be_used_is_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let options = EngineOptions { optimized_cache: Some(file.join("below")), ..EngineOptions::default() };
    let model = backend().load(&request(path_of("mlp"), options)).unwrap();
    run(&*model, &[floats(&[1, 64], &[0.5; 64])]).unwrap();
}

#[test]
fn settings_are_taken() {
    let parameters: BTreeMap<_, _> = [("execution_mode", "1"), ("session.set_denormal_as_zero", "1")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    for level in [
        GraphOptimization::Disabled,
        GraphOptimization::Basic,
        GraphOptimization::Extended,
    ] {
        let options = EngineOptions {
            graph_optimization: level,
            intra_op_threads: 1,
            arena: false,
            parameters: parameters.clone(),
            ..EngineOptions::default()
        };
        let model = backend().load(&request(path_of("add_sub_fp32"), options)).unwrap();
        assert_eq!(model.placement(), "CPUExecutionProvider (1 thread)");
        let execution = run(&*model, &[floats(&[1, 4], &[1.0; 4]), floats(&[1, 4], &[2.0; 4])]).unwrap();
        assert_eq!(floats_of(&execution.outputs[0]), [3.0; 4]);
    }
}

#[test]
fn the_library_tells_what_it_is() {
    let backend = backend();
    assert!(backend.version().unwrap().starts_with("1."), "{}", backend.version().unwrap());
    let providers = backend.execution_providers().unwrap();
    assert!(providers.iter().any(|provider| provider == "CPUExecutionProvider"), "{providers:?}");
}
