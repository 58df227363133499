use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use adulis_backend::{
    BackendError, BatchInput, BatchRequest, Execution, Interrupt, Model, ModelInstance, Responder,
};
use adulis_telemetry::panic_message;

use crate::padding::{self, BatchSizes};
use crate::sequences::SlotStates;

/// A place for one instance of a model, or for one of each size that batches are padded to. An instance may be missing after a
/// panic or a fault; the next run makes a new one.
pub(crate) struct Slot {
    pub(crate) index: usize,
    sizes: BatchSizes,
    /// One, or one of each size.
    places: Vec<Place>,
    /// The place of the last run.
    current: usize,
    /// Whether a fault took an instance away that has not been replaced.
    lost: bool,
    /// What the server keeps for the sequences that this instance has.
    pub(crate) states: SlotStates,
}

#[derive(Default)]
struct Place {
    instance: Option<Box<dyn ModelInstance>>,
    interrupt: Option<Arc<dyn Interrupt>>,
}

/// Why a run gave nothing.
#[derive(Debug)]
pub(crate) enum RunError {
    Failed(String),
    /// The instance is at fault, or what it needs: that says nothing of the request.
    Broken(String),
    /// The request is at fault.
    Refused(String),
    Interrupted,
    Panicked(String),
}

impl Slot {
    /// A slot with its instance.
    pub(crate) fn new(index: usize, model: &dyn Model) -> Result<Self, BackendError> {
        let mut slot = Self {
            index,
            sizes: BatchSizes::default(),
            places: vec![Place::default()],
            current: 0,
            lost: false,
            states: SlotStates::default(),
        };
        slot.fill(model)?;
        Ok(slot)
    }

    /// A slot in the place of another one. Where no instance can be made, the next run tries again.
    pub(crate) fn make(index: usize, model: &dyn Model, sizes: &BatchSizes) -> Self {
        let mut slot = Self {
            index,
            sizes: BatchSizes::default(),
            places: vec![Place::default()],
            current: 0,
            lost: true,
            states: SlotStates::default(),
        };
        slot.pad_to(sizes);
        slot.renew(model);
        slot
    }

    /// Makes an instance in the place of one that is gone. `false` if none can be made: the next run tries again.
    pub(crate) fn renew(&mut self, model: &dyn Model) -> bool {
        let made = catch_unwind(AssertUnwindSafe(|| self.fill(model).map(|_| ())));
        match made {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::error!(%error, "no instance in the place of one that is gone"),
            Err(panic) => {
                let reason = panic_message(&*panic);
                tracing::error!(reason, "a backend panicked while it made an instance");
            }
        }
        false
    }

    /// Has every batch padded to one of `sizes` from now on, each with an instance of its own, made by its first run.
    pub(crate) fn pad_to(&mut self, sizes: &BatchSizes) {
        self.sizes = sizes.clone();
        self.places.resize_with(sizes.all().len().max(1), Place::default);
    }

    fn fill(&mut self, model: &dyn Model) -> Result<&mut dyn ModelInstance, BackendError> {
        let place = &mut self.places[self.current];
        if place.instance.is_none() {
            let made = model.instance()?;
            place.interrupt = made.interrupt();
            place.instance = Some(made);
            self.lost = false;
        }
        Ok(&mut **place.instance.as_mut().expect("invariant: filled above"))
    }

    /// What its batches are padded to.
    pub(crate) fn sizes(&self) -> BatchSizes {
        self.sizes.clone()
    }

    /// The handle that stops a run of this slot.
    pub(crate) fn interrupt(&self) -> Option<Arc<dyn Interrupt>> {
        match self.places.as_slice() {
            [only] => only.interrupt.clone(),
            places => {
                Some(Arc::new(Each(places.iter().filter_map(|place| place.interrupt.clone()).collect())))
            }
        }
    }

    /// Whether a fault took an instance away, so that the next run has to make another.
    pub(crate) fn has_lost(&self) -> bool {
        self.lost
    }

    /// Runs the instance once, or that of the batch's size. A panic or a fault of the instance takes it away. `requests` are
    /// there where the model wants to know of them.
    pub(crate) fn execute(
        &mut self,
        model: &dyn Model,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<Execution, RunError> {
        let rows = inputs.first().and_then(|input| input.shape.rows()).unwrap_or(0);
        let Some((place, size)) = self.sizes.fitting(rows) else {
            return self.execute_as_is(model, inputs, requests);
        };
        self.current = place;
        if size == rows {
            return self.execute_as_is(model, inputs, requests);
        }
        let mut execution = self.execute_as_is(model, &padding::pad(inputs, size), requests)?;
        padding::cut(&mut execution.outputs, rows, size);
        Ok(execution)
    }

    fn execute_as_is(
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
            Ok(Err(BackendError::Input { reason })) => Err(RunError::Refused(reason)),
            Ok(Err(error)) => Err(RunError::Broken(format!("{error}{}", self.discard()))),
            Err(panic) => Err(RunError::Panicked(format!("{}{}", panic_message(&*panic), self.discard()))),
        }
    }

    /// Drops the instance, and says what there is to add to the reason.
    fn discard(&mut self) -> &'static str {
        let place = &mut self.places[self.current];
        place.interrupt = None;
        // The instance is in an unknown state: a panic while it is dropped must not get out either.
        let broken = place.instance.take();
        self.lost = true;
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(broken)));
        if dropped.is_ok() {
            ""
        } else {
            " (it panicked again while its broken instance was dropped)"
        }
    }
}

/// Stops whichever of a slot's instances runs; the others take no notice.
struct Each(Vec<Arc<dyn Interrupt>>);

impl Interrupt for Each {
    fn interrupt(&self) {
        for instance in &self.0 {
            instance.interrupt();
        }
    }

    fn force(&self) -> bool {
        // All of them are asked: those that do not run take no notice.
        self.0.iter().filter(|instance| instance.force()).count() > 0
    }
}
