//! Tests that every engine passes; each engine's own test file calls them, and adds what only it does.
//!
//! The models are made by `models/make_models.py`.
#![allow(dead_code, reason = "each engine's test file takes what it can")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests; clippy sees that in `#[test]` functions only"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adulis_backend::{
    Backend, BackendError, BatchInput, Batching, EngineOptions, Execution, LoadRequest, Model, ModelInstance,
};
use adulis_tensor::{DataType, Shape, Tensor, append_element};
use bytes::Bytes;

/// The file of one of the test models.
pub(crate) fn path_of(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../onnx/tests/models")
        .join(format!("{model}.onnx"))
}

pub(crate) fn request(path: PathBuf, options: EngineOptions) -> LoadRequest {
    LoadRequest { name: "test".into(), version: 1, path, declared: None, options }
}

pub(crate) fn load(backend: &dyn Backend, model: &str) -> Arc<dyn Model> {
    backend
        .load(&request(path_of(model), EngineOptions::default()))
        .unwrap_or_else(|error| panic!("{model}: {error}"))
}

pub(crate) fn load_error(backend: &dyn Backend, path: &Path) -> BackendError {
    match backend.load(&request(path.to_path_buf(), EngineOptions::default())) {
        Ok(_) => panic!("{} was loaded", path.display()),
        Err(error) => error,
    }
}

pub(crate) fn tensor(datatype: DataType, shape: &[usize], data: impl Into<Bytes>) -> Tensor {
    Tensor::new(datatype, Shape::new(shape), data.into()).unwrap()
}

pub(crate) fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(DataType::Fp32, shape, data)
}

pub(crate) fn floats_of(tensor: &Tensor) -> Vec<f32> {
    assert_eq!(tensor.datatype(), DataType::Fp32);
    tensor
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

pub(crate) fn strings(shape: &[usize], values: &[&[u8]]) -> Tensor {
    let mut data = Vec::new();
    for value in values {
        append_element(&mut data, value).unwrap();
    }
    tensor(DataType::Bytes, shape, data)
}

/// Input `index` from `parts`, which are joined along the leading dimension.
pub(crate) fn input(model: &dyn Model, index: usize, parts: Vec<Tensor>) -> BatchInput {
    let spec = &model.signature().inputs[index];
    let rows = parts.iter().filter_map(|part| part.shape().rows()).sum();
    BatchInput {
        index,
        name: spec.name.clone(),
        datatype: spec.datatype,
        shape: parts[0].shape().with_rows(rows),
        parts,
    }
}

/// Runs a new instance of `model` once, each input in one part.
pub(crate) fn run(model: &dyn Model, inputs: &[Tensor]) -> Result<Execution, BackendError> {
    let inputs: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, tensor)| input(model, index, vec![tensor.clone()]))
        .collect();
    model.instance().unwrap().execute(&inputs)
}

/// Sums and differences of integers and floats of several sizes.
pub(crate) fn adds_and_subtracts(backend: &dyn Backend) {
    fn case(backend: &dyn Backend, name: &str, datatype: DataType, make: impl Fn(i8) -> Vec<u8>) {
        let model = load(backend, name);
        assert_eq!(model.signature().batching, Batching::Possible, "{name}");
        let of = |values: [i8; 4]| tensor(datatype, &[1, 4], values.map(&make).concat());
        let execution = run(&*model, &[of([1, 2, 3, 4]), of([4, 4, 1, 0])]).unwrap();
        assert_eq!(execution.outputs, [of([5, 6, 4, 4]), of([-3, -2, 2, 4])], "{name}");
    }
    case(backend, "add_sub_int32", DataType::Int32, |v| i32::from(v).to_le_bytes().to_vec());
    case(backend, "add_sub_int64", DataType::Int64, |v| i64::from(v).to_le_bytes().to_vec());
    case(backend, "add_sub_fp32", DataType::Fp32, |v| f32::from(v).to_le_bytes().to_vec());
    case(backend, "add_sub_fp64", DataType::Fp64, |v| f64::from(v).to_le_bytes().to_vec());
}

/// Every datatype of fixed size that the engine has goes through unchanged, rows gathered from several parts, unaligned
/// ones among them.
pub(crate) fn hands_datatypes_through(backend: &dyn Backend, datatypes: &[DataType]) {
    for &datatype in datatypes {
        let model = load(backend, &format!("identity_{}", datatype.as_str().to_lowercase()));
        assert_eq!(model.signature().inputs[0].datatype, datatype);
        assert_eq!(&model.signature().inputs[0].shape[..], [-1, -1]);
        let size = datatype.size_bytes().unwrap();
        // One byte more in front, so that the rest is not aligned.
        let bytes = Bytes::from((0..=6 * size).map(|byte| u8::from(byte % 3 == 1)).collect::<Vec<_>>());
        let unaligned = tensor(datatype, &[2, 3], bytes.slice(1..));
        let first = unaligned.rows(0..1).unwrap();
        let rest = unaligned.rows(1..2).unwrap();
        let mut instance = model.instance().unwrap();
        for _ in 0..2 {
            let parts = vec![rest.clone(), first.clone(), rest.clone()];
            let execution = instance.execute(&[input(&*model, 0, parts)]).unwrap();
            let [output] = execution.outputs.as_slice() else {
                panic!("{datatype}")
            };
            assert_eq!(output.shape(), &Shape::from([3, 3]), "{datatype}");
            assert_eq!(output.rows(1..2).unwrap(), first, "{datatype}");
            let single = instance.execute(&[input(&*model, 0, vec![unaligned.clone()])]).unwrap();
            assert_eq!(single.outputs[0], unaligned, "{datatype}");
        }
    }
}

/// NUL, bytes that are no UTF-8, and empty elements survive.
pub(crate) fn hands_byte_strings_through(backend: &dyn Backend, values: &[&[u8]]) {
    let model = load(backend, "identity_bytes");
    let mut instance = model.instance().unwrap();
    let one = strings(&[1, values.len()], values);
    for _ in 0..2 {
        let parts = vec![one.clone(), one.clone()];
        let execution = instance.execute(&[input(&*model, 0, parts)]).unwrap();
        assert_eq!(execution.outputs[0].shape(), &Shape::from([2, values.len()]));
        assert_eq!(execution.outputs[0].rows(1..2).unwrap(), one);
    }
    let none = strings(&[0, 3], &[]);
    assert_eq!(instance.execute(&[input(&*model, 0, vec![none.clone()])]).unwrap().outputs, [none]);
}

/// Outputs stay what they were after later runs, and after instance and model are gone.
pub(crate) fn outputs_outlive_the_run(backend: &dyn Backend) {
    let model = load(backend, "identity_fp32");
    let mut instance = model.instance().unwrap();
    for width in [1, 5000] {
        let run = |instance: &mut Box<dyn ModelInstance>, value: f32| {
            let data = floats(&[2, width], &vec![value; 2 * width]);
            instance.execute(&[input(&*model, 0, vec![data])]).unwrap().outputs.remove(0)
        };
        let first = run(&mut instance, 1.0);
        let second = run(&mut instance, 2.0);
        assert!(floats_of(&first).iter().all(|&value| value == 1.0));
        assert!(floats_of(&second).iter().all(|&value| value == 2.0));
    }
    let kept = {
        let data = floats(&[1, 9000], &vec![3.0; 9000]);
        instance.execute(&[input(&*model, 0, vec![data])]).unwrap().outputs.remove(0)
    };
    drop(instance);
    drop(model);
    assert!(floats_of(&kept).iter().all(|&value| value == 3.0));
}

/// An output that is an input, with no operator between, is right too.
pub(crate) fn outputs_never_borrow_inputs(backend: &dyn Backend) {
    let model = load(backend, "pass_through");
    let mut instance = model.instance().unwrap();
    let outputs = {
        let data = floats(&[2, 4000], &vec![5.0; 8000]);
        let execution = instance.execute(&[input(&*model, 0, vec![data.clone()])]).unwrap();
        assert_ne!(execution.outputs[0].data().as_ptr(), data.data().as_ptr());
        execution.outputs
    };
    let data = floats(&[2, 4000], &vec![6.0; 8000]);
    instance.execute(&[input(&*model, 0, vec![data])]).unwrap();
    assert!(floats_of(&outputs[0]).iter().all(|&value| value == 5.0));
    assert!(floats_of(&outputs[1]).iter().all(|&value| value == -5.0));
}

/// Row by row or as one batch, the answers are the same.
pub(crate) fn batches_agree_with_rows(backend: &dyn Backend) {
    let model = load(backend, "mlp");
    assert_eq!(model.signature().batching, Batching::Possible);
    let mut instance = model.instance().unwrap();
    let rows: Vec<_> = (0_u8..5)
        .map(|row| {
            let values: Vec<_> = (0_u8..64).map(|column| f32::from(row * 7 + column) / 64.0 - 0.5).collect();
            floats(&[1, 64], &values)
        })
        .collect();
    let batch = instance.execute(&[input(&*model, 0, rows.clone())]).unwrap().outputs.remove(0);
    assert_eq!(batch.shape(), &Shape::from([5, 10]));
    for (index, row) in rows.into_iter().enumerate() {
        let alone = instance.execute(&[input(&*model, 0, vec![row])]).unwrap().outputs.remove(0);
        let together = floats_of(&batch.rows(index..index + 1).unwrap());
        for (one, other) in floats_of(&alone).iter().zip(&together) {
            assert!((one - other).abs() <= 1e-5 * one.abs().max(1.0), "row {index}: {one} {other}");
        }
    }
}

/// Rank 0 and dimensions of zero.
pub(crate) fn scalars_and_empty_tensors(backend: &dyn Backend) {
    let scalar = load(backend, "scalar");
    assert_eq!(scalar.signature().inputs[0].shape.len(), 0);
    assert_eq!(scalar.signature().batching, Batching::No);
    let sum = run(&*scalar, &[floats(&[], &[1.5]), floats(&[], &[2.0])]).unwrap();
    assert_eq!(sum.outputs, [floats(&[], &[3.5])]);

    let identity = load(backend, "identity_fp32");
    for shape in [[0, 3], [3, 0], [0, 0]] {
        let empty = floats(&shape, &[]);
        assert_eq!(run(&*identity, std::slice::from_ref(&empty)).unwrap().outputs, [empty]);
    }
}

/// Shapes and batching are read from the model.
pub(crate) fn signatures_tell_what_batches(backend: &dyn Backend) {
    let batching = |model: &str| load(backend, model).signature().batching;
    assert_eq!(batching("two_axes"), Batching::No);
    assert_eq!(batching("fixed"), Batching::No);
    assert_eq!(batching("identity_int8"), Batching::Possible);
    let fixed = load(backend, "fixed");
    assert_eq!(&fixed.signature().inputs[0].shape[..], [1, 3]);
    let joined = load(backend, "two_axes");
    let execution = run(
        &*joined,
        &[
            floats(&[1, 2], &[1.0, 2.0]),
            floats(&[2, 2], &[3.0, 4.0, 5.0, 6.0]),
        ],
    )
    .unwrap();
    assert_eq!(execution.outputs, [floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
}

/// A run that fails says why, and the instance goes on.
pub(crate) fn a_failing_run_fails_alone(backend: &dyn Backend) {
    let model = load(backend, "gather");
    let mut instance = model.instance().unwrap();
    let mut gather = |indices: &[i64]| {
        let data: Vec<u8> = indices.iter().flat_map(|index| index.to_le_bytes()).collect();
        instance.execute(&[
            input(&*model, 0, vec![floats(&[3], &[1.0, 2.0, 3.0])]),
            input(&*model, 1, vec![tensor(DataType::Int64, &[indices.len()], data)]),
        ])
    };
    for _ in 0..2 {
        let error = gather(&[0, 99]).unwrap_err();
        assert!(matches!(error, BackendError::Execution { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.len() < 500 && !message.contains('\n'), "{message}");
        assert_eq!(gather(&[2, 0]).unwrap().outputs, [floats(&[2], &[3.0, 1.0])]);
    }
}

/// Files that are no models are refused with a reason, and nothing crashes.
pub(crate) fn bad_files_are_refused(backend: &dyn Backend) {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(path_of("mlp")).unwrap();
    let mut flipped = whole.clone();
    for byte in flipped.iter_mut().skip(16).step_by(97) {
        *byte ^= 0xff;
    }
    let cases: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("text", b"this is not a model, it only has its name"),
        ("truncated", &whole[..whole.len() / 2]),
        ("flipped", &flipped),
        ("zeros", &[0; 4096]),
    ];
    for (name, content) in cases {
        let path = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&path, content).unwrap();
        let error = load_error(backend, &path);
        assert!(matches!(error, BackendError::Load { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(&format!("{name}.onnx")), "{name}: {error}");
        assert!(error.to_string().len() < 1000, "{name}: {error}");
    }
    let missing = load_error(backend, &folder.path().join("missing.onnx"));
    assert!(matches!(missing, BackendError::Load { .. }), "{missing:?}");
}

/// Truncated anywhere, a model is refused or loads; it never brings the process down.
pub(crate) fn truncated_files_never_crash(backend: &dyn Backend) {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(path_of("add_sub_fp32")).unwrap();
    for length in 1..whole.len() {
        let path = folder.path().join("cut.onnx");
        std::fs::write(&path, &whole[..length]).unwrap();
        if let Ok(model) = backend.load(&request(path, EngineOptions::default())) {
            let _ = model.instance();
        }
    }
}

/// With single bits flipped anywhere, a model is refused, fails, or answers; it never brings the process down.
pub(crate) fn flipped_bits_never_crash(backend: &dyn Backend) {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(path_of("add_sub_fp32")).unwrap();
    let row = || floats(&[1, 4], &[1.0, 2.0, 3.0, 4.0]);
    let path = folder.path().join("flipped.onnx");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        let Ok(model) = backend.load(&request(path.clone(), EngineOptions::default())) else {
            continue;
        };
        if let (Ok(mut instance), 2) = (model.instance(), model.signature().inputs.len()) {
            let _ = instance.execute(&[input(&*model, 0, vec![row()]), input(&*model, 1, vec![row()])]);
        }
    }
}
