//! What an ensemble of two models costs against asking both directly, one after the other, with the built-in identity.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use adulis_backend::BuiltIn;
use adulis_engine::{Engine, Settings};
use adulis_repository::{
    Ensemble, EnsembleStep, ModelConfig, ModelEntry, ModelVersion, Scheduling, TensorConfig,
};
use adulis_telemetry::MetricRegistry;
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferRequest, InferenceService, InputTensor, ModelRef};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};

fn entry(config: ModelConfig) -> ModelEntry {
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    ModelEntry { name: config.name.clone(), config, versions, directory: None }
}

fn identity(name: &str) -> ModelEntry {
    entry(ModelConfig { backend: Some("identity".to_owned()), ..ModelConfig::derived(name) })
}

fn step(model: &str, input: &str, output: &str) -> EnsembleStep {
    EnsembleStep {
        model_name: model.to_owned(),
        input_map: [("INPUT0".to_owned(), input.to_owned())].into(),
        output_map: [("OUTPUT0".to_owned(), output.to_owned())].into(),
        ..EnsembleStep::default()
    }
}

fn ensemble() -> ModelEntry {
    let steps = vec![
        step("one", "INPUT0", "between"),
        step("two", "between", "OUTPUT0"),
    ];
    entry(ModelConfig {
        max_batch_size: Some(8),
        inputs: vec![TensorConfig::new("INPUT0", DataType::Fp32, [16])],
        outputs: vec![TensorConfig::new("OUTPUT0", DataType::Fp32, [16])],
        scheduling: Scheduling::Ensemble(Ensemble { steps, max_inflight_requests: 0 }),
        ..ModelConfig::derived("both")
    })
}

fn engine(inline_threshold: Duration) -> Arc<Engine> {
    let settings = Settings { inline_threshold, ..Settings::default() };
    let engine = Engine::new(settings, vec![Arc::new(BuiltIn)], &MetricRegistry::default()).unwrap();
    engine.load(&[identity("one"), identity("two"), ensemble()]);
    engine
}

fn request(model: &str, data: Bytes) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest(model));
    let tensor = Tensor::new(DataType::Fp32, Shape::from([1, 16]), data).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    request
}

async fn ask(engine: &Engine, model: &str, data: Bytes) -> Bytes {
    let mut response = engine.infer(request(model, data)).await.unwrap();
    response.outputs.remove(0).tensor.into_data()
}

fn two_steps(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let data = Bytes::from(vec![0; 64]);
    for (name, threshold) in [("inline", Duration::from_millis(1)), ("queued", Duration::ZERO)] {
        let engine = engine(threshold);
        let mut group = c.benchmark_group(format!("two_steps/{name}"));
        group.bench_function("direct", |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let between = ask(&engine, "one", data.clone()).await;
                    black_box(ask(&engine, "two", between).await)
                })
            });
        });
        group.bench_function("ensemble", |bencher| {
            bencher.iter(|| runtime.block_on(async { black_box(ask(&engine, "both", data.clone()).await) }));
        });
    }
}

criterion_group!(benches, two_steps);
criterion_main!(benches);
