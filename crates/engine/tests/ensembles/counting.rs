use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adulis_backend::{
    Backend, BackendError, BatchInput, Execution, LoadRequest, Model, ModelInstance, ModelSignature,
    Responder, Response,
};
use adulis_tensor::{DataType, Shape, Tensor};
use bytes::Bytes;

/// A backend whose models count: a byte `n` is answered `n` times, with `n - 1` down to 0 in every output; a model with the
/// parameter `up` counts up, and one with `modulo` by the rest of `n`. One of 200 or more fails behind its first answer. A model
/// with the parameter `tells` tells its last answer, which is 0, as such.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counting {
    /// Answers that were taken, of all models.
    pub(crate) sent: Arc<AtomicU64>,
    /// Requests whose client was seen to be gone.
    pub(crate) gone: Arc<AtomicU64>,
}

impl Backend for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        Ok(Arc::new(Counter {
            signature: request.declared.clone().unwrap(),
            tells: request.options.parameters.contains_key("tells"),
            modulo: request.options.parameters.get("modulo").map(|text| text.parse().unwrap()),
            up: request.options.parameters.contains_key("up"),
            counting: self.clone(),
        }))
    }
}

#[derive(Clone)]
struct Counter {
    signature: ModelSignature,
    tells: bool,
    up: bool,
    modulo: Option<u8>,
    counting: Counting,
}

impl Counter {
    fn answer(&self, count: u8, responder: &mut Responder) -> Result<(), adulis_backend::Gone> {
        for value in (u8::from(self.tells)..count).rev() {
            let value = if self.up { count - 1 - value } else { value };
            responder.send(self.response(value))?;
            self.counting.sent.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn response(&self, value: u8) -> Response {
        let output = |_| {
            let data = Bytes::copy_from_slice(&[value]);
            Tensor::new(DataType::Uint8, Shape::new(&[1]), data).unwrap()
        };
        Response {
            outputs: self.signature.outputs.iter().map(output).collect(),
            ..Response::default()
        }
    }
}

impl Model for Counter {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "here".to_owned()
    }

    fn is_decoupled(&self) -> bool {
        true
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(self.clone()))
    }
}

impl ModelInstance for Counter {
    fn execute(&mut self, _: &[BatchInput]) -> Result<Execution, BackendError> {
        panic!("a decoupled model is asked to respond");
    }

    fn respond(&mut self, inputs: &[BatchInput], responders: Vec<Responder>) -> Result<(), BackendError> {
        let count = inputs[0].parts[0].data()[0];
        let count = self.modulo.map_or(count, |modulo| count % modulo);
        for mut responder in responders {
            if count >= 200 {
                let _ = responder.send(self.response(count));
                responder.fail("asked to fail");
            } else if self.answer(count, &mut responder).is_err() {
                self.counting.gone.fetch_add(1, Ordering::SeqCst);
            } else if self.tells && count > 0 {
                let _ = responder.send_last(self.response(0));
            } else {
                responder.finish();
            }
        }
        Ok(())
    }
}
