use std::sync::Arc;
use std::time::Instant;

use adulis_backend::{BackendError, BatchInput, Execution, Interrupt, ModelInstance, ModelSignature};
use tract_onnx::prelude::{TValue, TVec, TractError, TypedSimpleState};
use tract_onnx::tract_core::plan;

use crate::convert;
use crate::graph::Plan;
use crate::guard::{Fault, guarded};
use crate::interrupt::RunControl;
use crate::plans::Plans;

/// One executable copy: the state of a plan's run, kept from run to run.
pub(crate) struct TractInstance {
    signature: Arc<ModelSignature>,
    plans: Arc<Plans>,
    state: Option<TypedSimpleState>,
    control: Arc<RunControl>,
}

impl TractInstance {
    pub(crate) fn new(signature: Arc<ModelSignature>, plans: Arc<Plans>) -> Self {
        Self { signature, plans, state: None, control: Arc::default() }
    }

    /// The inputs in the signature's order. The engine cannot leave one out.
    fn gather(&self, inputs: &[BatchInput]) -> Result<TVec<TValue>, BackendError> {
        if let Some(missing) = (0..self.signature.inputs.len())
            .find(|&index| inputs.get(index).is_none_or(|input| input.index != index))
        {
            return Err(BackendError::Execution {
                reason: format!("input {:?} is missing", self.signature.inputs[missing].name),
            });
        }
        inputs.iter().map(convert::gather).collect()
    }

    fn run(&mut self, plan: &Plan, values: TVec<TValue>) -> Result<TVec<TValue>, BackendError> {
        // A state is used up by any run that did not end well; only a good one is put back.
        let kept = self.state.take().filter(|state| Arc::ptr_eq(state.plan(), plan));
        self.control.begin();
        let result = guarded(|| {
            let mut state = kept.map_or_else(|| plan.spawn(), Ok)?;
            let control = &self.control;
            let outputs = state.run_plan_with_eval(values, |context, op_state, node, inputs| {
                if control.is_interrupted() {
                    return Err(TractError::msg("interrupted"));
                }
                plan::eval(context, op_state, node, inputs)
            })?;
            Ok((state, outputs))
        });
        let interrupted = self.control.end();
        match result {
            Ok((state, outputs)) => {
                self.state = Some(state);
                Ok(outputs)
            }
            Err(_) if interrupted => Err(BackendError::Interrupted),
            Err(fault) => Err(execution(fault)),
        }
    }
}

/// A panic leaves nothing of the run behind (its state is dropped), so it fails the batch like any other failure.
fn execution(fault: Fault) -> BackendError {
    BackendError::Execution { reason: fault.into_reason() }
}

impl ModelInstance for TractInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let started = Instant::now();
        let values = self.gather(inputs)?;
        let gathered = Instant::now();
        let plan = self
            .plans
            .plan(|| inputs.iter().map(|input| input.shape.clone()).collect())
            .map_err(execution)?;
        let values = self.run(&plan, values)?;
        let ran = Instant::now();
        let outputs = guarded(|| {
            values
                .into_iter()
                .zip(&self.signature.outputs)
                .map(|(value, spec)| {
                    convert::output(value, spec)
                        .map_err(|error| error.context(format!("output {:?}", spec.name)))
                })
                .collect()
        })
        .map_err(execution)?;
        Ok(Execution {
            outputs,
            input: gathered - started,
            infer: ran - gathered,
            output: ran.elapsed(),
            ..Execution::default()
        })
    }

    fn interrupt(&self) -> Option<Arc<dyn Interrupt>> {
        Some(self.control.clone())
    }
}
