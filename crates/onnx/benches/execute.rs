//! Cost of one call of `execute`: ONNX Runtime against tract, and against the safe call of `ort`.
//!
//! `cargo bench -p adulis-onnx`. Every engine has one thread. Figures in `docs/engines.md`.
#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark: it needs the library and the models"
)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adulis_backend::{Backend, BatchInput, EngineOptions, LoadRequest};
use adulis_onnx::{OnnxRuntime, OnnxRuntimeOptions};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_tract::Tract;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use ort::session::Session;
use ort::value::TensorRef;

fn path_of(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(format!("{model}.onnx"))
}

fn values(rows: usize, width: usize) -> Vec<f32> {
    vec![0.25; rows * width]
}

/// A case: model, rows, elements per row, number of inputs.
type Case = (&'static str, usize, usize, usize);

fn through_backend(group: &mut BenchmarkGroup<'_, WallTime>, backend: &dyn Backend, case: Case) {
    let (model, rows, width, inputs) = case;
    let request = LoadRequest {
        name: model.into(),
        version: 1,
        path: path_of(model),
        declared: None,
        options: EngineOptions { intra_op_threads: 1, ..EngineOptions::default() },
    };
    let loaded = backend.load(&request).expect("the model loads");
    let mut instance = loaded.instance().expect("an instance can be made");
    let data: Vec<u8> = values(rows, width).iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = Tensor::new(DataType::Fp32, Shape::from([rows, width]), data.into()).expect("shape fits");
    let inputs: Vec<_> = (0..inputs)
        .map(|index| BatchInput {
            index,
            name: loaded.signature().inputs[index].name.clone(),
            datatype: DataType::Fp32,
            shape: tensor.shape().clone(),
            parts: vec![tensor.clone()],
        })
        .collect();
    group.bench_function(BenchmarkId::new(backend.name(), rows), |bencher| {
        bencher.iter(|| black_box(instance.execute(&inputs).expect("the run succeeds")));
    });
}

fn through_safe_ort(
    group: &mut BenchmarkGroup<'_, WallTime>,
    environment: &ort::environment::Environment,
    case: Case,
) {
    let (model, rows, width, inputs) = case;
    let mut session = Session::builder(environment)
        .and_then(|builder| Ok(builder.with_intra_threads(1)?))
        .and_then(|mut builder| builder.commit_from_file(path_of(model)))
        .expect("the model loads");
    let data = values(rows, width);
    let shape = [rows, width];
    group.bench_function(BenchmarkId::new("ort safe run", rows), |bencher| {
        bencher.iter(|| {
            let value = || TensorRef::from_array_view((shape, data.as_slice())).expect("shape fits");
            let outputs = if inputs == 1 {
                session.run(ort::inputs![value()])
            } else {
                session.run(ort::inputs![value(), value()])
            };
            black_box(outputs.expect("the run succeeds").len())
        });
    });
}

fn execute(criterion: &mut Criterion) {
    let runtime = OnnxRuntime::new(OnnxRuntimeOptions::default());
    runtime.available().expect("the library is there");
    // The engine has one environment per process: this is another handle to it.
    let environment = ort::init().build().expect("the environment is there");
    for (name, cases) in [
        ("add_sub", vec![("add_sub_fp32", 1, 4, 2)]),
        ("mlp", vec![("mlp", 1, 64, 1), ("mlp", 8, 64, 1), ("mlp", 32, 64, 1)]),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
        for case in cases {
            through_backend(&mut group, &runtime, case);
            through_safe_ort(&mut group, &environment, case);
            through_backend(&mut group, &Tract, case);
        }
        group.finish();
    }
}

criterion_group!(benches, execute);
criterion_main!(benches);
