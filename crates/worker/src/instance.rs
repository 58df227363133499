use std::panic::resume_unwind;
use std::sync::Arc;

use adulis_backend::{BackendError, BatchInput, BatchRequest, Execution, Interrupt, ModelInstance};

use crate::connection::Connection;
use crate::death::Order;
use crate::exchange::Failure;
use crate::fault::Fault;
use crate::group::Group;
use crate::interrupt::RemoteInterrupt;

/// How often a batch is tried whose worker dies. After that the engine runs its requests one by one.
const ATTEMPTS: usize = 2;

/// An instance that lives in a worker. When its worker dies it goes to another.
pub(crate) struct RemoteInstance {
    group: Arc<Group>,
    home: usize,
    place: Option<Place>,
    interrupt: Arc<RemoteInterrupt>,
    /// [`Group::starts`] when it was looked last whether it can go home.
    seen: u64,
}

/// Where it is at present.
struct Place {
    worker: usize,
    connection: Connection,
}

impl RemoteInstance {
    pub(crate) fn new(group: Arc<Group>) -> Self {
        let (home, seen) = (group.settle(), group.starts());
        Self { group, home, place: None, interrupt: Arc::default(), seen }
    }

    fn run(&mut self, inputs: &[BatchInput], requests: &[BatchRequest]) -> Result<Execution, BackendError> {
        self.interrupt.begin();
        let result = self.run_somewhere(inputs, requests);
        self.interrupt.end();
        result
    }

    fn run_somewhere(
        &mut self,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<Execution, BackendError> {
        let group = Arc::clone(&self.group);
        let mut deaths = 0;
        loop {
            let failure = match self.run_once(inputs, requests)? {
                Ok(execution) => return Ok(execution),
                Err(failure) => failure,
            };
            match failure {
                // A panic there is a panic here: the engine tells clients of it as of any other.
                Failure::Said(Fault::Panicked { reason }) => {
                    self.place = None;
                    resume_unwind(Box::new(reason));
                }
                Failure::Said(fault) => return Err(fault.into_error(group.backend)),
                Failure::TooLarge(_) => return Err(group.error(failure)),
                Failure::Died(_) | Failure::Late => self.lose(None),
                Failure::Violation(_) => self.lose(Some(Order::Violation)),
            }
            deaths += 1;
            if self.interrupt.is_forced() {
                // As if it had stopped when it was asked.
                return Err(BackendError::Interrupted);
            }
            if self.keeps_state() {
                return Err(state_lost());
            }
            if deaths == ATTEMPTS {
                let reason = format!("{deaths} worker processes died while they ran it");
                return Err(BackendError::Broken { reason });
            }
            group.metrics.retried();
            tracing::warn!(
                model = %group.labels.model, version = group.labels.version,
                "a worker died while it ran a batch, which is run again on another"
            );
        }
    }

    /// One attempt, on the worker where the instance is, or on one that it goes to. The outer error is no worker's.
    fn run_once(
        &mut self,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<Result<Execution, Failure>, BackendError> {
        let Self { group, interrupt, .. } = self;
        let (group, interrupt) = (Arc::clone(group), Arc::clone(interrupt));
        let connection = self.settle()?;
        let Some((_, signature)) = group.opened() else {
            return Err(BackendError::Broken { reason: "its model is not loaded".to_owned() });
        };
        if !interrupt.hand_over(&connection.process, connection.id, connection.next_run()) {
            return Err(BackendError::Interrupted);
        }
        let ran = connection.run(signature, inputs, requests);
        interrupt.take_back();
        Ok(ran.map(|(mut execution, overhead)| {
            connection.process.note_answered();
            group.metrics.observe_overhead(overhead);
            execution.input += overhead;
            group.note_trial(inputs);
            execution
        }))
    }

    /// The connection to the worker where it is, if that lives; goes home where it can.
    pub(crate) fn settle(&mut self) -> Result<&mut Connection, BackendError> {
        let starts = self.group.starts();
        if starts != self.seen {
            self.seen = starts;
            // What an instance keeps does not go with it.
            if self.place.as_ref().is_some_and(|place| place.worker != self.home)
                && !self.keeps_state()
                && self.group.is_up(self.home)
            {
                self.place = None;
            }
        }
        if self.place.as_ref().is_some_and(|place| place.connection.process.is_gone()) {
            self.place = None;
            if self.keeps_state() {
                return Err(state_lost());
            }
        }
        let place = match self.place.take() {
            Some(place) => place,
            None => {
                let (worker, connection) = self.group.connect(self.home, &self.interrupt)?;
                Place { worker, connection }
            }
        };
        Ok(&mut self.place.insert(place).connection)
    }

    /// Whether its worker knows what nobody else does.
    fn keeps_state(&self) -> bool {
        self.group.opened().is_none_or(|(opened, _)| opened.keeps_state)
    }

    /// The worker is of no use any more.
    fn lose(&mut self, order: Option<Order>) {
        if let Some(Place { connection, .. }) = self.place.take() {
            match order {
                Some(order) => connection.process.kill(order),
                // Where only the connection has gone, the rest of it is of no use either.
                None => connection.process.kill(Order::None),
            }
        }
    }
}

/// What goes with a worker is not run from the wrong state: the engine gives the sequences up.
fn state_lost() -> BackendError {
    let reason = "the worker process died that kept the state of its sequences".to_owned();
    BackendError::Broken { reason }
}

impl ModelInstance for RemoteInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        self.run(inputs, &[])
    }

    fn execute_requests(
        &mut self,
        inputs: &[BatchInput],
        requests: &[BatchRequest],
    ) -> Result<Execution, BackendError> {
        self.run(inputs, requests)
    }

    fn interrupt(&self) -> Option<Arc<dyn Interrupt>> {
        Some(self.interrupt.clone())
    }
}

impl Drop for RemoteInstance {
    fn drop(&mut self) {
        self.group.leave(self.home);
    }
}
