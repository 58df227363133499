//! What the engine itself costs per request, with the built-in identity: on the caller's thread, and over the queue.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use adulis_backend::BuiltIn;
use adulis_engine::{Engine, Settings};
use adulis_repository::{ModelConfig, ModelEntry, ModelVersion};
use adulis_telemetry::MetricRegistry;
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferRequest, InferenceService, InputTensor, ModelRef};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};

fn engine(inline_threshold: Duration) -> Arc<Engine> {
    let settings = Settings { inline_threshold, ..Settings::default() };
    let engine = Engine::new(settings, vec![Arc::new(BuiltIn)], &MetricRegistry::default()).unwrap();
    let config = ModelConfig { backend: Some("identity".to_owned()), ..ModelConfig::derived("identity") };
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    engine.load(&[ModelEntry { name: config.name.clone(), config, versions, directory: None }]);
    engine
}

fn request(data: &Bytes) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest("identity"));
    let tensor = Tensor::new(DataType::Fp32, Shape::from([1, 16]), data.clone()).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    request
}

fn infer(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let data = Bytes::from(vec![0; 64]);
    for (name, threshold) in [("inline", Duration::from_millis(1)), ("queued", Duration::ZERO)] {
        let engine = engine(threshold);
        c.bench_function(&format!("infer/{name}"), |bencher| {
            bencher
                .iter(|| runtime.block_on(async { black_box(engine.infer(request(&data)).await.unwrap()) }));
        });
    }
}

criterion_group!(benches, infer);
criterion_main!(benches);
