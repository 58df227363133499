//! Batches that are padded to a few sizes, with a backend that notes what its instances were given.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adulis_backend::{
    Backend, BackendError, BatchInput, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, TensorSpec,
};
use adulis_engine::{Engine, Settings};
use adulis_repository::{ModelConfig, ModelEntry, ModelVersion};
use adulis_telemetry::MetricRegistry;
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::{InferRequest, InferenceService, InputTensor, ModelRef};
use parking_lot::Mutex;

/// Rows that each instance was given, by the instance's number.
type Seen = Arc<Mutex<BTreeMap<usize, BTreeSet<usize>>>>;

/// Doubles bytes.
struct Doubling {
    prefers: bool,
    signature: ModelSignature,
    made: AtomicUsize,
    seen: Seen,
}

struct Instance {
    number: usize,
    seen: Seen,
}

/// Hands out one model.
struct Given(Arc<Doubling>);

impl Backend for Given {
    fn name(&self) -> &'static str {
        "doubling"
    }

    fn load(&self, _: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        Ok(self.0.clone())
    }
}

impl Model for Doubling {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "here".to_owned()
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn prefers_fixed_batches(&self) -> bool {
        self.prefers
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Instance { number, seen: Arc::clone(&self.seen) }))
    }
}

impl ModelInstance for Instance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let input = &inputs[0];
        let rows = input.shape.rows().unwrap();
        self.seen.lock().entry(self.number).or_default().insert(rows);
        let doubled: Vec<u8> = input.chunks().flatten().map(|byte| byte.wrapping_mul(2)).collect();
        let output = Tensor::new(DataType::Uint8, input.shape.clone(), doubled.into()).unwrap();
        Ok(Execution { outputs: vec![output], ..Execution::default() })
    }
}

fn spec(name: &str) -> TensorSpec {
    let shape = ShapePattern::new(&[-1, 3]);
    TensorSpec { name: name.into(), datatype: DataType::Uint8, shape, optional: false }
}

fn engine(prefers: bool, config: ModelConfig) -> (Arc<Engine>, Seen) {
    let signature = ModelSignature {
        inputs: vec![spec("IN")],
        outputs: vec![spec("OUT")],
        batching: Batching::Possible,
    };
    let seen = Seen::default();
    let model = Doubling { prefers, signature, made: AtomicUsize::new(0), seen: Arc::clone(&seen) };
    let backends: Vec<Arc<dyn Backend>> = vec![Arc::new(Given(Arc::new(model)))];
    let settings = Settings { backend_order: vec!["doubling".to_owned()], ..Settings::default() };
    let engine = Engine::new(settings, backends, &MetricRegistry::default()).unwrap();
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    engine.load(&[ModelEntry { name: config.name.clone(), config, versions, directory: None }]);
    (engine, seen)
}

async fn check(engine: &Engine, rows: usize) {
    let bytes: Vec<u8> = (1..=100).take(rows * 3).collect();
    let mut request = InferRequest::new(ModelRef::latest("m"));
    let tensor = Tensor::new(DataType::Uint8, Shape::from([rows, 3]), bytes.clone().into()).unwrap();
    request.inputs.push(InputTensor { name: "IN".into(), tensor });
    let answer = engine.infer(request).await.unwrap();
    let output = &answer.outputs[0].tensor;
    assert_eq!(output.shape(), &Shape::from([rows, 3]), "what was padded is not answered");
    assert_eq!(output.data()[..], bytes.iter().map(|byte| byte * 2).collect::<Vec<_>>());
}

fn eight_rows() -> ModelConfig {
    ModelConfig { max_batch_size: Some(8), ..ModelConfig::derived("m") }
}

#[tokio::test]
async fn each_size_has_an_instance_that_meets_no_other() {
    let (engine, seen) = engine(true, eight_rows());
    seen.lock().remove(&0);
    for rows in [1, 3, 2, 8, 5, 7, 4, 6, 1] {
        check(&engine, rows).await;
    }
    let seen = seen.lock();
    let alone: Vec<usize> = seen.values().map(|sizes| sizes.first().copied().unwrap()).collect();
    assert!(seen.values().all(|sizes| sizes.len() == 1), "{seen:?}");
    assert_eq!(BTreeSet::from_iter(alone), BTreeSet::from([1, 2, 4, 8]));
}

#[tokio::test]
async fn sizes_are_warm_before_the_model_is_ready() {
    let (_engine, seen) = engine(true, eight_rows());
    let warmed: BTreeSet<usize> = seen.lock().values().flatten().copied().collect();
    assert!(warmed.is_superset(&BTreeSet::from([1, 2, 4, 8])), "{warmed:?}");
}

#[tokio::test]
async fn the_configuration_decides() {
    let mut config = eight_rows();
    config.optimization.batch_sizes = Some(vec![3]);
    let (padding, seen) = engine(false, config);
    seen.lock().clear();
    for rows in [1, 2, 5] {
        check(&padding, rows).await;
    }
    assert_eq!(seen.lock().values().flatten().copied().collect::<Vec<_>>(), [3, 8]);

    let mut config = eight_rows();
    config.optimization.batch_sizes = Some(Vec::new());
    let (plain, seen) = engine(true, config);
    seen.lock().clear();
    check(&plain, 5).await;
    assert_eq!(seen.lock().values().flatten().copied().collect::<Vec<_>>(), [5]);
}

#[tokio::test]
async fn a_model_without_batches_is_not_padded() {
    let config = ModelConfig { max_batch_size: Some(0), ..ModelConfig::derived("m") };
    let (engine, seen) = engine(true, config);
    seen.lock().clear();
    check(&engine, 5).await;
    assert_eq!(seen.lock().values().flatten().copied().collect::<Vec<_>>(), [5]);
}
