use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use adulis_backend::{BackendError, BatchInput, Execution, Interrupt, ModelInstance, ModelSignature};
use adulis_tensor::Tensor;
use ort::sys;
use smallvec::SmallVec;

use crate::api::{OrtError, call};
use crate::environment::Environment;
use crate::input::{InputSlot, Range};
use crate::interrupt::RunControl;
use crate::output;
use crate::session::Session;

/// Names as the engine takes them, shared by a model's instances.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) inputs: Vec<CString>,
    pub(crate) outputs: Vec<CString>,
}

/// One session with its buffers.
pub(crate) struct OnnxInstance {
    environment: &'static Environment,
    signature: Arc<ModelSignature>,
    names: Arc<Names>,
    slots: Vec<InputSlot>,
    control: Arc<RunControl>,
    // Last, so that it is dropped after the values.
    session: Session,
}

/// What one run is given. Addresses in it are good for that run only.
#[derive(Default)]
struct Bound {
    names: SmallVec<[*const c_char; 4]>,
    values: SmallVec<[*const sys::OrtValue; 4]>,
    ranges: SmallVec<[Range; 4]>,
}

impl OnnxInstance {
    pub(crate) fn new(
        environment: &'static Environment,
        session: Session,
        (signature, names): (Arc<ModelSignature>, Arc<Names>),
    ) -> Result<Self, OrtError> {
        let mut slots = Vec::new();
        slots.resize_with(signature.inputs.len(), InputSlot::default);
        Ok(Self {
            environment,
            signature,
            names,
            slots,
            control: Arc::new(RunControl::new()?),
            session,
        })
    }

    fn bind(&mut self, inputs: &[BatchInput]) -> Result<Bound, BackendError> {
        let mut bound = Bound::default();
        for input in inputs {
            let place = self.slots.get_mut(input.index).zip(self.names.inputs.get(input.index));
            let Some((slot, name)) = place else {
                return Err(BackendError::Execution {
                    reason: format!(
                        "input {:?} has index {}, which the model lacks",
                        input.name, input.index
                    ),
                });
            };
            let (value, range) = slot.bind(self.environment, input)?;
            bound.names.push(name.as_ptr());
            bound.values.push(value);
            bound.ranges.push(range);
        }
        Ok(bound)
    }

    fn run(&mut self, bound: &Bound) -> Result<SmallVec<[*mut sys::OrtValue; 4]>, BackendError> {
        let names: SmallVec<[*const c_char; 4]> =
            self.names.outputs.iter().map(|name| name.as_ptr()).collect();
        let mut outputs: SmallVec<[*mut sys::OrtValue; 4]> =
            smallvec::smallvec![ptr::null_mut(); names.len()];
        self.control.begin();
        // SAFETY: session and run options are live; names and values come in arrays of the lengths passed with them;
        // `&mut self` makes this the only run of the session; the bytes that the values point at are held by the caller
        // (parts) or by the slots (buffers), and neither changes before this returns.
        let result = unsafe {
            call!(Run(
                self.session.as_ptr(),
                self.control.as_ptr(),
                bound.names.as_ptr(),
                bound.values.as_ptr(),
                bound.values.len(),
                names.as_ptr(),
                names.len(),
                outputs.as_mut_ptr()
            ))
        };
        let interrupted =
            self.control.end().map_err(|error| BackendError::Broken { reason: error.to_string() })?;
        match result {
            Ok(()) => Ok(outputs),
            Err(_) if interrupted => Err(BackendError::Interrupted),
            Err(error) => Err(BackendError::Execution { reason: error.to_string() }),
        }
    }

    /// Takes every output over, so that each is released, and then reports the first that failed.
    fn take(&self, values: &[*mut sys::OrtValue], inputs: &[Range]) -> Result<Vec<Tensor>, BackendError> {
        let taken: Vec<_> = values
            .iter()
            .zip(&self.signature.outputs)
            .map(|(&value, spec)| output::take(value, spec, inputs))
            .collect();
        taken.into_iter().collect()
    }
}

impl ModelInstance for OnnxInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let started = Instant::now();
        let bound = self.bind(inputs)?;
        let gathered = Instant::now();
        let values = self.run(&bound)?;
        let ran = Instant::now();
        let outputs = self.take(&values, &bound.ranges)?;
        for input in inputs {
            if let Some(slot) = self.slots.get_mut(input.index) {
                slot.release_copies();
            }
        }
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
