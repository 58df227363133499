//! A backend whose runs hang when they are told to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adulis_backend::{
    Backend, BackendError, BatchInput, Execution, Interrupt, LoadRequest, Model, ModelInstance,
    ModelSignature,
};
use adulis_tensor::{DataType, Tensor};
use bytes::Bytes;

use crate::support::byte_signature;

/// An input that makes a run hang until it is let go, and one that makes it hang until it is asked to stop.
pub(crate) const HANG: u8 = 13;
pub(crate) const STOPPABLE: u8 = 14;
/// One that makes a run take [`SLOW_TIME`], and one that makes it fail at once.
pub(crate) const SLOW: u8 = 15;
pub(crate) const FAIL: u8 = 16;

pub(crate) const SLOW_TIME: Duration = Duration::from_millis(60);

/// Gives back what it is given, unless it hangs.
#[derive(Debug, Default, Clone)]
pub(crate) struct Hanging(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Runs hang no more.
    released: AtomicBool,
    /// Every run hangs, whatever its input.
    all_hang: AtomicBool,
    /// Every run hangs until it is asked to stop, or panics.
    all_stop: AtomicBool,
    all_panic: AtomicBool,
    instances: AtomicUsize,
    /// The name of the thread of the last run.
    thread: Mutex<String>,
}

impl Hanging {
    pub(crate) fn release(&self) {
        self.0.released.store(true, Ordering::SeqCst);
    }

    pub(crate) fn all_hang(&self, hang: bool) {
        self.0.all_hang.store(hang, Ordering::SeqCst);
    }

    pub(crate) fn all_stop(&self, stop: bool) {
        self.0.all_stop.store(stop, Ordering::SeqCst);
    }

    pub(crate) fn all_panic(&self, panic: bool) {
        self.0.all_panic.store(panic, Ordering::SeqCst);
    }

    /// Whether the last run was on an execution thread.
    pub(crate) fn was_queued(&self) -> bool {
        self.0.thread.lock().unwrap().starts_with("adulis-exec")
    }

    /// Instances that were made so far.
    pub(crate) fn instances(&self) -> usize {
        self.0.instances.load(Ordering::SeqCst)
    }
}

impl Backend for Hanging {
    fn name(&self) -> &'static str {
        "hanging"
    }

    fn load(&self, _: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        Ok(Arc::new(HangingModel { state: Arc::clone(&self.0), signature: byte_signature() }))
    }
}

struct HangingModel {
    state: Arc<State>,
    signature: ModelSignature,
}

impl Model for HangingModel {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "test".to_owned()
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        self.state.instances.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(HangingInstance { state: Arc::clone(&self.state), stop: Arc::default() }))
    }
}

struct HangingInstance {
    state: Arc<State>,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop(AtomicBool);

impl Interrupt for Stop {
    fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl ModelInstance for HangingInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        self.stop.0.store(false, Ordering::SeqCst);
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        *self.state.thread.lock().unwrap() = thread;
        let data: Vec<u8> = inputs[0].chunks().flatten().copied().collect();
        let hangs = || data.contains(&HANG) || self.state.all_hang.load(Ordering::SeqCst);
        while hangs() && !self.state.released.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!self.state.all_panic.load(Ordering::SeqCst), "told to panic");
        if data.contains(&FAIL) {
            return Err(BackendError::Execution { reason: "told to fail".to_owned() });
        }
        let began = Instant::now();
        let is_slow = || data.contains(&SLOW) && began.elapsed() < SLOW_TIME;
        while data.contains(&STOPPABLE) || is_slow() || self.state.all_stop.load(Ordering::SeqCst) {
            if self.stop.0.load(Ordering::SeqCst) {
                return Err(BackendError::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = Tensor::new(DataType::Uint8, inputs[0].shape.clone(), Bytes::from(data)).unwrap();
        Ok(Execution { outputs: vec![output], infer: Duration::from_micros(50), ..Execution::default() })
    }

    fn interrupt(&self) -> Option<Arc<dyn Interrupt>> {
        Some(self.stop.clone())
    }
}
