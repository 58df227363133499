#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use bytes::Bytes;

use super::behaviour::Behaviour;
use super::gather;
use crate::{
    Backend, BackendError, BatchInput, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, Responder, Response, TensorSpec,
};

/// The built-in `repeat` backend: a decoupled model that answers once for each value of its input.
///
/// Each value of `IN` (INT32 `[n]`) is an answer with the value as `OUT` (INT32 `[1]`) and its index as `IDX` (UINT32 `[1]`),
/// after as many milliseconds as `DELAY` (UINT32 `[n]`) says of it. `WAIT` (UINT32 `[1]`) is how many milliseconds the instance
/// is held: after that it takes the next request, whose answers come between those of this one. No values give no answer. It
/// takes one request at a time (`max_batch_size` 0), and its last answer is not told as such: the end comes behind it, as with
/// the backend of this name that Triton's examples use.
///
/// The faults of the `identity` backend's parameters are there too. It exists to test clients and to size a deployment.
#[derive(Debug, Default)]
pub struct Repeat;

const NAME: &str = "repeat";

/// Requests that one instance answers side by side.
const MAX_THREADS: usize = 64;

/// How often a delay looks whether the client is still there.
const LOOK: Duration = Duration::from_millis(50);

impl Backend for Repeat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let own = signature();
        if request.declared.as_ref().is_some_and(|declared| !agrees(declared, &own)) {
            return Err(BackendError::Unsupported {
                what:
                    "repeat with other tensors than IN INT32 [-1], DELAY UINT32 [-1] and WAIT UINT32 [1] in, \
                       OUT INT32 [1] and IDX UINT32 [1] out, in this order and without a batch dimension"
                        .to_owned(),
            });
        }
        Ok(Arc::new(Repeating { signature: own, behaviour: Behaviour::from_options(request)? }))
    }
}

fn signature() -> ModelSignature {
    let spec = |name: &str, datatype, dimension| TensorSpec {
        name: name.into(),
        datatype,
        shape: ShapePattern::new(&[dimension]),
        optional: false,
    };
    ModelSignature {
        inputs: vec![
            spec("IN", DataType::Int32, -1),
            spec("DELAY", DataType::Uint32, -1),
            spec("WAIT", DataType::Uint32, 1),
        ],
        outputs: vec![spec("OUT", DataType::Int32, 1), spec("IDX", DataType::Uint32, 1)],
        batching: Batching::No,
    }
}

/// Whether these are the same tensors, whatever number of values the configuration fixes.
fn agrees(declared: &ModelSignature, own: &ModelSignature) -> bool {
    let same = |declared: &[TensorSpec], own: &[TensorSpec]| {
        declared.len() == own.len()
            && declared.iter().zip(own).all(|(declared, own)| {
                declared.name == own.name
                    && declared.datatype == own.datatype
                    && declared.shape.len() == own.shape.len()
            })
    };
    same(&declared.inputs, &own.inputs) && same(&declared.outputs, &own.outputs)
}

struct Repeating {
    signature: ModelSignature,
    behaviour: Behaviour,
}

impl Model for Repeating {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "built in".to_owned()
    }

    fn is_decoupled(&self) -> bool {
        true
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(Instance { behaviour: self.behaviour, answering: Arc::default() }))
    }
}

struct Instance {
    behaviour: Behaviour,
    /// Held by each thread that answers.
    answering: Arc<()>,
}

impl Instance {
    /// Answers on a thread of its own while there are not too many of them, else on this one.
    fn answer_apart(&self, columns: Columns, responder: Responder) {
        if Arc::strong_count(&self.answering) > MAX_THREADS {
            return columns.answer(responder);
        }
        let counted = Arc::clone(&self.answering);
        let work = move || {
            columns.answer(responder);
            drop(counted);
        };
        // Where no thread can be had, the request ends with an error as its responder is dropped.
        drop(thread::Builder::new().name("adulis-repeat".to_owned()).spawn(work));
    }
}

impl ModelInstance for Instance {
    fn execute(&mut self, _: &[BatchInput]) -> Result<Execution, BackendError> {
        Err(BackendError::Unsupported { what: "repeat with one answer for each request".to_owned() })
    }

    fn respond(&mut self, inputs: &[BatchInput], responders: Vec<Responder>) -> Result<(), BackendError> {
        self.behaviour.misbehave(inputs)?;
        let columns = Columns::read(inputs)?;
        let wait = columns.wait;
        let started = Instant::now();
        // Without a batch dimension there is one request.
        if let Some(responder) = responders.into_iter().next() {
            self.answer_apart(columns, responder);
        }
        thread::sleep(wait.saturating_sub(started.elapsed()));
        Ok(())
    }
}

/// The inputs of one request.
struct Columns {
    values: Vec<[u8; 4]>,
    delays: Vec<Duration>,
    wait: Duration,
}

impl Columns {
    fn read(inputs: &[BatchInput]) -> Result<Self, BackendError> {
        let failed = |reason: String| BackendError::Execution { reason };
        let words = |name: &str| -> Result<Vec<[u8; 4]>, BackendError> {
            let input = inputs.iter().find(|input| *input.name == *name);
            let tensor = gather(input.ok_or_else(|| failed(format!("input '{name}' is missing")))?)?;
            Ok(tensor.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]).collect())
        };
        let milliseconds = |word: &[u8; 4]| Duration::from_millis(u32::from_le_bytes(*word).into());
        let (values, delays, wait) = (words("IN")?, words("DELAY")?, words("WAIT")?);
        if values.len() != delays.len() {
            let (values, delays) = (values.len(), delays.len());
            return Err(BackendError::Input {
                reason: format!("expected IN and DELAY of one length, got {values} and {delays} values"),
            });
        }
        Ok(Self {
            values,
            delays: delays.iter().map(milliseconds).collect(),
            wait: wait.first().map(milliseconds).unwrap_or_default(),
        })
    }

    fn answer(&self, mut responder: Responder) {
        for (index, (value, delay)) in (0_u32..).zip(self.values.iter().zip(&self.delays)) {
            pause(*delay, &responder);
            let outputs = [(DataType::Int32, *value), (DataType::Uint32, index.to_le_bytes())];
            let outputs = outputs.map(|(datatype, word)| {
                Tensor::new(datatype, Shape::new(&[1]), Bytes::copy_from_slice(&word))
            });
            match outputs.into_iter().collect() {
                Ok(outputs) => {
                    if responder.send(Response { outputs, ..Response::default() }).is_err() {
                        return;
                    }
                }
                Err(error) => return responder.fail(format!("{error}")),
            }
        }
        responder.finish();
    }
}

/// Waits, or until the client has gone.
fn pause(mut left: Duration, responder: &Responder) {
    while !left.is_zero() && !responder.is_gone() {
        let step = left.min(LOOK);
        thread::sleep(step);
        left -= step;
    }
}
