use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use adulis_backend::{
    Backend, BackendError, BatchInput, Execution, LoadRequest, Model, ModelInstance, ModelSignature,
    Responder, Response,
};
use adulis_tensor::Tensor;
use parking_lot::Mutex;

use crate::support::byte_signature;

/// The first byte of the runs that are made before a model serves, which wait for nothing and are not counted.
const WARM_UP: u8 = 0;
/// A first byte that has a run fail.
pub(crate) const FAIL: u8 = 254;
/// A first byte that has a run panic.
pub(crate) const PANIC: u8 = 255;

/// A first byte that has a run take long.
pub(crate) const HOLD: u8 = 253;

/// How long each run takes.
const RUN: Duration = Duration::from_millis(4);
const LONG: Duration = Duration::from_millis(150);

/// Sees which models run, and how many at once. Its models answer what they are asked; those whose name begins with `decoupled`
/// are.
#[derive(Default, Clone)]
pub(crate) struct Meter(Arc<Seen>);

#[derive(Default)]
struct Seen {
    running: AtomicUsize,
    most: AtomicUsize,
    order: Mutex<Vec<Arc<str>>>,
}

impl Meter {
    /// The most runs that there were at once.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }

    /// The models of the runs so far, in their order.
    pub(crate) fn order(&self) -> Vec<Arc<str>> {
        self.0.order.lock().clone()
    }
}

impl Backend for Meter {
    fn name(&self) -> &'static str {
        "meter"
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let signature = byte_signature();
        Ok(Arc::new(Metered { meter: self.clone(), name: Arc::clone(&request.name), signature }))
    }
}

struct Metered {
    meter: Meter,
    name: Arc<str>,
    signature: ModelSignature,
}

impl Model for Metered {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "test".to_owned()
    }

    fn is_decoupled(&self) -> bool {
        self.name.starts_with("decoupled")
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(Instance { meter: self.meter.clone(), name: Arc::clone(&self.name) }))
    }
}

struct Instance {
    meter: Meter,
    name: Arc<str>,
}

/// Counts until it is dropped, also by a panic.
struct Running<'a>(&'a Seen);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Instance {
    fn run(&self, inputs: &[BatchInput]) -> Result<Tensor, BackendError> {
        let input = inputs[0].parts[0].clone();
        if input.data()[0] == WARM_UP {
            return Ok(input);
        }
        let seen = &*self.meter.0;
        let running = seen.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(seen);
        seen.most.fetch_max(running, Ordering::SeqCst);
        seen.order.lock().push(Arc::clone(&self.name));
        thread::sleep(if input.data()[0] == HOLD { LONG } else { RUN });
        match input.data()[0] {
            FAIL => Err(BackendError::Execution { reason: "asked to fail".to_owned() }),
            PANIC => panic!("asked to panic"),
            _ => Ok(input),
        }
    }
}

impl ModelInstance for Instance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        Ok(Execution { outputs: vec![self.run(inputs)?], ..Execution::default() })
    }

    fn respond(&mut self, inputs: &[BatchInput], responders: Vec<Responder>) -> Result<(), BackendError> {
        let output = self.run(inputs)?;
        for responder in responders {
            let parameters = responder.request().parameters.clone();
            responder.send_last(Response { outputs: vec![output.clone()], parameters }).ok();
        }
        Ok(())
    }
}
