//! What happens inside a run: callers that go away while their batch is executed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adulis_backend::{
    Backend, BackendError, BatchInput, Execution, Interrupt, LoadRequest, Model, ModelInstance,
    ModelSignature,
};
use adulis_engine::{Engine, Settings};
use adulis_repository::{ModelConfig, ModelEntry, ModelVersion};
use adulis_telemetry::MetricRegistry;
use adulis_tensor::{DataType, Tensor};
use adulis_types::{InferRequest, InferenceService, ModelRef};
use bytes::Bytes;
use support::{byte_request, byte_signature};

/// Runs for as long as its input says, in milliseconds, unless it is interrupted.
#[derive(Default, Clone)]
struct Sleeper {
    interrupted: Arc<AtomicBool>,
    interrupts: Arc<AtomicUsize>,
    runs: Arc<AtomicUsize>,
}

impl Backend for Sleeper {
    fn name(&self) -> &'static str {
        "sleeper"
    }

    fn load(&self, _: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        Ok(Arc::new(SleeperModel { sleeper: self.clone(), signature: byte_signature() }))
    }
}

struct SleeperModel {
    sleeper: Sleeper,
    signature: ModelSignature,
}

impl Model for SleeperModel {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "test".to_owned()
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(self.sleeper.clone()))
    }
}

impl ModelInstance for Sleeper {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        self.interrupted.store(false, Ordering::SeqCst);
        self.runs.fetch_add(1, Ordering::SeqCst);
        let longest = inputs[0].chunks().flatten().copied().max().unwrap_or(0);
        let end = Instant::now() + Duration::from_millis(u64::from(longest));
        while Instant::now() < end {
            if self.interrupted.load(Ordering::SeqCst) {
                return Err(BackendError::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let data: Vec<u8> = inputs[0].chunks().flatten().copied().collect();
        let output = Tensor::new(DataType::Uint8, inputs[0].shape.clone(), Bytes::from(data)).unwrap();
        Ok(Execution { outputs: vec![output], infer: Duration::from_millis(1), ..Execution::default() })
    }

    fn interrupt(&self) -> Option<Arc<dyn Interrupt>> {
        Some(Arc::new(self.clone()))
    }
}

impl Interrupt for Sleeper {
    fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::SeqCst);
        self.interrupted.store(true, Ordering::SeqCst);
    }
}

fn start() -> (Arc<Engine>, Sleeper) {
    let sleeper = Sleeper::default();
    let settings = Settings { inline_threshold: Duration::ZERO, execution_threads: 1, ..Settings::default() };
    let engine = Engine::new(settings, vec![Arc::new(sleeper.clone())], &MetricRegistry::default()).unwrap();
    let config = ModelConfig { backend: Some("sleeper".to_owned()), ..ModelConfig::derived("m") };
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    engine.load(&[ModelEntry { name: "m".to_owned(), config, versions, directory: None }]);
    (engine, sleeper)
}

fn request(milliseconds: u8) -> InferRequest {
    byte_request(ModelRef::latest("m"), &[milliseconds])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_waits_for_is_interrupted() {
    let (engine, sleeper) = start();
    let started = Instant::now();
    assert!(tokio::time::timeout(Duration::from_millis(20), engine.infer(request(250))).await.is_err());
    engine.infer(request(0)).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_millis(200),
        "the next request waited {:?}",
        started.elapsed()
    );
    assert_eq!(sleeper.interrupts.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_nobody_waits_for_is_not_run_again_one_by_one() {
    let (engine, sleeper) = start();
    let blocker = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.infer(request(60)).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    // These two share the next batch, and both give up in the middle of it.
    let soon = Duration::from_millis(100);
    let (one, two) = tokio::join!(
        tokio::time::timeout(soon, engine.infer(request(250))),
        tokio::time::timeout(soon, engine.infer(request(250))),
    );
    assert!(one.is_err() && two.is_err());
    blocker.await.unwrap().unwrap();
    let before = sleeper.runs.load(Ordering::SeqCst);
    engine.infer(request(0)).await.unwrap();
    assert_eq!(sleeper.interrupts.load(Ordering::SeqCst), 1, "they shared one batch");
    assert_eq!(sleeper.runs.load(Ordering::SeqCst), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_on_while_one_caller_waits() {
    let (engine, sleeper) = start();
    let blocker = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.infer(request(60)).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    // These two share the next batch; one of them gives up in the middle of it.
    let stays = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.infer(request(100)).await }
    });
    let leaves = tokio::time::timeout(Duration::from_millis(80), engine.infer(request(100)));
    assert!(leaves.await.is_err());
    blocker.await.unwrap().unwrap();
    let answer = stays.await.unwrap().unwrap();
    assert_eq!(&answer.outputs[0].tensor.data()[..], [100]);
    assert_eq!(sleeper.interrupts.load(Ordering::SeqCst), 0);
}
