use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use adulis_tensor::{AlignedBuffer, DataType, ShapePattern, Tensor};
use bytes::Bytes;

use crate::{
    Backend, BackendError, BatchInput, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, TensorSpec,
};

/// The built-in `identity` backend: every output is the input of the same place.
///
/// Without a declared signature it has one input `INPUT0` and one output `OUTPUT0`, FP32 `[-1, 16]`. Parameters:
/// `execute_delay_microseconds` sleeps in each run, `execute_delay_row_microseconds` per row; `fail_on` and `panic_on`
/// (a byte value) make a run fail or panic when an input's first byte is that value. They exist to size deployments
/// and to test the engine.
#[derive(Debug, Default)]
pub struct BuiltIn;

const NAME: &str = "identity";

impl Backend for BuiltIn {
    fn name(&self) -> &'static str {
        NAME
    }

    fn platform(&self) -> &'static str {
        NAME
    }

    fn available(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let signature = request.declared.clone().unwrap_or_else(default_signature);
        if signature.inputs.len() != signature.outputs.len() {
            return Err(BackendError::Unsupported {
                what: "identity with different numbers of inputs and outputs".to_owned(),
            });
        }
        let behaviour = Behaviour::from_options(request)?;
        Ok(Arc::new(Identity { signature, behaviour }))
    }
}

fn default_signature() -> ModelSignature {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        datatype: DataType::Fp32,
        shape: ShapePattern::new(&[-1, 16]),
        optional: false,
    };
    ModelSignature {
        inputs: vec![spec("INPUT0")],
        outputs: vec![spec("OUTPUT0")],
        batching: Batching::Possible,
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Behaviour {
    delay: Duration,
    row_delay: Duration,
    fail_on: Option<u8>,
    panic_on: Option<u8>,
}

impl Behaviour {
    fn from_options(request: &LoadRequest) -> Result<Self, BackendError> {
        let parameter = |name: &str| {
            let Some(text) = request.options.parameters.get(name) else {
                return Ok(None);
            };
            text.parse::<u64>().map(Some).map_err(|_| BackendError::Option {
                option: format!("parameters.{name}"),
                reason: format!("expected a whole number, got {text:?}"),
            })
        };
        let byte =
            |name: &str| Ok::<_, BackendError>(parameter(name)?.and_then(|value| u8::try_from(value).ok()));
        Ok(Self {
            delay: Duration::from_micros(parameter("execute_delay_microseconds")?.unwrap_or(0)),
            row_delay: Duration::from_micros(parameter("execute_delay_row_microseconds")?.unwrap_or(0)),
            fail_on: byte("fail_on")?,
            panic_on: byte("panic_on")?,
        })
    }
}

struct Identity {
    signature: ModelSignature,
    behaviour: Behaviour,
}

impl Model for Identity {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "built in".to_owned()
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(IdentityInstance { behaviour: self.behaviour }))
    }
}

struct IdentityInstance {
    behaviour: Behaviour,
}

impl IdentityInstance {
    fn misbehave(&self, inputs: &[BatchInput]) -> Result<(), BackendError> {
        let hit = |trigger: Option<u8>| {
            trigger.is_some()
                && inputs
                    .iter()
                    .flat_map(|input| &input.parts)
                    .any(|part| part.data().first().copied() == trigger)
        };
        if hit(self.behaviour.fail_on) {
            return Err(BackendError::Execution { reason: "asked to fail by parameter fail_on".to_owned() });
        }
        assert!(!hit(self.behaviour.panic_on), "asked to panic by parameter panic_on");
        let rows = inputs.first().and_then(|input| input.shape.rows()).unwrap_or(1);
        let delay = self.behaviour.delay + self.behaviour.row_delay * u32::try_from(rows).unwrap_or(u32::MAX);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        Ok(())
    }
}

impl ModelInstance for IdentityInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let started = Instant::now();
        self.misbehave(inputs)?;
        let infer = started.elapsed();
        let outputs = inputs.iter().map(gather).collect::<Result<_, _>>()?;
        Ok(Execution { outputs, infer, output: started.elapsed() - infer, ..Execution::default() })
    }
}

fn gather(input: &BatchInput) -> Result<Tensor, BackendError> {
    if let [part] = input.parts.as_slice() {
        return Ok(part.clone());
    }
    let mut buffer = AlignedBuffer::default();
    buffer.gather(input.chunks());
    Tensor::new(input.datatype, input.shape.clone(), Bytes::from_owner(buffer))
        .map_err(|error| BackendError::Execution { reason: error.to_string() })
}
