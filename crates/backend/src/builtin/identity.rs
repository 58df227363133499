use std::sync::Arc;
use std::time::Instant;

use adulis_tensor::{DataType, ShapePattern};

use super::behaviour::Behaviour;
use super::gather;
use crate::{
    Backend, BackendError, BatchInput, BatchRequest, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, TensorSpec,
};

/// The built-in `identity` backend: every output is the input of the same place.
///
/// Without a declared signature it has one input `INPUT0` and one output `OUTPUT0`, FP32 `[-1, 16]`. Parameters:
/// `execute_delay_microseconds` and `execute_delay_ms` sleep in each run, `execute_delay_row_microseconds` per row;
/// `execute_steps` and `execute_steps_row` keep a core busy instead, about a nanosecond for each step; `fail_on` and `panic_on`
/// (a byte value) make a run fail or panic at its end when the first byte of a row of an input is that value, `hang_on` never
/// end, `abort_on` abort the process and `allocate_on` take `allocate_bytes` of memory; `load_delay_ms` sleeps when the model is
/// loaded. They exist to size deployments and to test the engine and its isolation. `echo_parameters` (`true`) answers with the
/// custom parameters of the request.
#[derive(Debug, Default)]
pub struct BuiltIn;

const NAME: &str = "identity";

impl Backend for BuiltIn {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let signature = request.declared.clone().unwrap_or_else(default_signature);
        if signature.inputs.len() != signature.outputs.len() {
            return Err(BackendError::Unsupported {
                what: "identity with different numbers of inputs and outputs".to_owned(),
            });
        }
        let behaviour = Behaviour::from_options(request)?;
        let echo_parameters = echo_parameters(request)?;
        Ok(Arc::new(Identity { signature, behaviour, echo_parameters }))
    }
}

const ECHO_PARAMETERS: &str = "echo_parameters";

fn echo_parameters(request: &LoadRequest) -> Result<bool, BackendError> {
    match request.options.parameters.get(ECHO_PARAMETERS).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(BackendError::Option {
            option: format!("parameters.{ECHO_PARAMETERS}"),
            reason: format!("expected true or false, got {other:?}"),
        }),
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

struct Identity {
    signature: ModelSignature,
    behaviour: Behaviour,
    echo_parameters: bool,
}

impl Model for Identity {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "built in".to_owned()
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn reads_requests(&self) -> bool {
        self.echo_parameters
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(IdentityInstance { behaviour: self.behaviour }))
    }
}

struct IdentityInstance {
    behaviour: Behaviour,
}

impl ModelInstance for IdentityInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let started = Instant::now();
        self.behaviour.misbehave(inputs)?;
        let infer = started.elapsed();
        let outputs = inputs.iter().map(gather).collect::<Result<_, _>>()?;
        Ok(Execution { outputs, infer, output: started.elapsed() - infer, ..Execution::default() })
    }

    /// Asked of instances that echo parameters.
    fn execute_requests(
        &mut self,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<Execution, BackendError> {
        let execution = self.execute(inputs)?;
        let parameters = requests.iter().map(|request| request.parameters.clone()).collect();
        Ok(Execution { parameters, ..execution })
    }
}
