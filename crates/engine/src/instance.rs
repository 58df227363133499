use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use adulis_backend::{
    BackendError, BatchInput, BatchRequest, Execution, Interrupt, Model, ModelInstance, Responder,
};
use adulis_telemetry::panic_message;

use crate::sequences::SlotStates;

/// A place for one instance of a model. The instance itself may be missing after a panic or a fault; the next run
/// makes a new one.
pub(crate) struct Slot {
    pub(crate) index: usize,
    instance: Option<Box<dyn ModelInstance>>,
    interrupt: Option<Arc<dyn Interrupt>>,
    /// What the server keeps for the sequences that this instance has.
    pub(crate) states: SlotStates,
}

/// Why a run gave nothing.
#[derive(Debug)]
pub(crate) enum RunError {
    Failed(String),
    Interrupted,
    Panicked(String),
}

impl Slot {
    /// A slot with its instance.
    pub(crate) fn new(index: usize, model: &dyn Model) -> Result<Self, BackendError> {
        let mut slot = Self { index, instance: None, interrupt: None, states: SlotStates::default() };
        slot.fill(model)?;
        Ok(slot)
    }

    fn fill(&mut self, model: &dyn Model) -> Result<&mut dyn ModelInstance, BackendError> {
        if self.instance.is_none() {
            let made = model.instance()?;
            self.interrupt = made.interrupt();
            self.instance = Some(made);
        }
        Ok(&mut **self.instance.as_mut().expect("invariant: filled above"))
    }

    /// The handle that stops a run of this instance.
    pub(crate) fn interrupt(&self) -> Option<Arc<dyn Interrupt>> {
        self.interrupt.clone()
    }

    /// Whether a fault took the instance away, so that the next run has to make another.
    pub(crate) fn is_empty(&self) -> bool {
        self.instance.is_none()
    }

    /// Runs the instance once. A panic or a fault of the instance empties the slot. `requests` are there where the model wants
    /// to know of them.
    pub(crate) fn execute(
        &mut self,
        model: &dyn Model,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<Execution, RunError> {
        self.run(model, |instance| match requests {
            [] => instance.execute(inputs),
            requests => instance.execute_requests(inputs, requests),
        })
    }

    /// Has the instance of a decoupled model answer a batch. A panic or a fault of the instance empties the slot.
    pub(crate) fn respond(
        &mut self,
        model: &dyn Model,
        inputs: &[BatchInput],
        responders: Vec<Responder>,
    ) -> Result<(), RunError> {
        self.run(model, |instance| instance.respond(inputs, responders))
    }

    fn run<T>(
        &mut self,
        model: &dyn Model,
        run: impl FnOnce(&mut dyn ModelInstance) -> Result<T, BackendError>,
    ) -> Result<T, RunError> {
        let run = catch_unwind(AssertUnwindSafe(|| run(self.fill(model)?)));
        match run {
            Ok(Ok(execution)) => Ok(execution),
            Ok(Err(BackendError::Interrupted)) => Err(RunError::Interrupted),
            Ok(Err(BackendError::Execution { reason })) => Err(RunError::Failed(reason)),
            Ok(Err(error)) => Err(RunError::Failed(format!("{error}{}", self.discard()))),
            Err(panic) => Err(RunError::Panicked(format!("{}{}", panic_message(&*panic), self.discard()))),
        }
    }

    /// Drops the instance, and says what there is to add to the reason.
    fn discard(&mut self) -> &'static str {
        self.interrupt = None;
        // The instance is in an unknown state: a panic while it is dropped must not get out either.
        let broken = self.instance.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(broken)));
        if dropped.is_ok() {
            ""
        } else {
            " (it panicked again while its broken instance was dropped)"
        }
    }
}
