use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adulis_backend::{
    Backend, BackendError, BatchInput, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, Responder, Response, TensorSpec,
};
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::ParameterValue;
use bytes::Bytes;

// What the first word of a request asks for; the second says how many answers come before that.
/// The end comes behind the last answer.
pub(crate) const ONE_BY_ONE: u32 = 0;
/// The last answer is told as such.
pub(crate) const WITH_LAST: u32 = 1;
pub(crate) const FAIL: u32 = 2;
pub(crate) const PANIC: u32 = 3;
/// The responder is dropped.
pub(crate) const LET_GO: u32 = 4;

/// Answers as often as it is asked to, as fast as its answers are taken.
#[derive(Default, Clone)]
pub(crate) struct Burst {
    pub(crate) sent: Arc<AtomicU64>,
    /// How often a client was seen to be gone.
    pub(crate) gone: Arc<AtomicU64>,
}

impl Backend for Burst {
    fn name(&self) -> &'static str {
        "burst"
    }

    fn load(&self, _: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let spec = |name: &str, dimension| TensorSpec {
            name: name.into(),
            datatype: DataType::Uint32,
            shape: ShapePattern::new(&[dimension]),
            optional: false,
        };
        let signature = ModelSignature {
            inputs: vec![spec("IN", 2)],
            outputs: vec![spec("OUT", 1)],
            batching: Batching::No,
        };
        Ok(Arc::new(BurstModel { burst: self.clone(), signature }))
    }
}

struct BurstModel {
    burst: Burst,
    signature: ModelSignature,
}

impl Model for BurstModel {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "test".to_owned()
    }

    fn is_decoupled(&self) -> bool {
        true
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(self.burst.clone()))
    }
}

impl ModelInstance for Burst {
    fn execute(&mut self, _: &[BatchInput]) -> Result<Execution, BackendError> {
        panic!("a decoupled model is asked to respond");
    }

    fn respond(&mut self, inputs: &[BatchInput], responders: Vec<Responder>) -> Result<(), BackendError> {
        let words: Vec<u32> = inputs[0].parts[0]
            .data()
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        let [way, count] = words[..] else {
            panic!("two words")
        };
        if way > LET_GO {
            let reason = "no such way".to_owned();
            return Err(if way == 100 {
                BackendError::Input { reason }
            } else {
                BackendError::Execution { reason }
            });
        }
        for mut responder in responders {
            let before_last = count - u32::from(way == WITH_LAST);
            for index in 0..before_last {
                if responder.send(response(&responder, index)).is_err() {
                    assert!(responder.is_gone());
                    self.gone.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                self.sent.fetch_add(1, Ordering::SeqCst);
            }
            match way {
                WITH_LAST => {
                    let last = response(&responder, before_last);
                    responder.send_last(last).unwrap();
                }
                FAIL => responder.fail("asked to fail"),
                PANIC => panic!("asked to panic"),
                LET_GO => drop(responder),
                _ => responder.finish(),
            }
        }
        Ok(())
    }
}

fn response(responder: &Responder, index: u32) -> Response {
    let data = Bytes::copy_from_slice(&index.to_le_bytes());
    let output = Tensor::new(DataType::Uint32, Shape::new(&[1]), data).unwrap();
    let mut parameters = responder.request().parameters.clone();
    parameters.set("request", ParameterValue::String(responder.request().id.clone()));
    Response { outputs: vec![output], parameters }
}
