mod places;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use adulis_backend::{BackendError, BatchInput, ModelSignature, while_waiting};
use adulis_telemetry::{ModelLabels, WorkerHandles, WorkerMetrics};
use adulis_tensor::{AlignedBuffer, Tensor};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use self::places::{Found, State, Worker};
use crate::connection::Connection;
use crate::death::{Death, Order};
use crate::exchange::Failure;
use crate::fault::Fault;
use crate::interrupt::RemoteInterrupt;
use crate::keeper::Life;
use crate::open::{Open, Opened};
use crate::options::{WorkerCommand, WorkerOptions};
use crate::process::Process;

/// Largest batch that is kept to try fresh workers with.
const MAX_TRIAL_BYTES: usize = 1 << 20;
/// How often who waits for a worker looks whether it is still to wait.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The workers of one model.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) command: WorkerCommand,
    pub(crate) options: WorkerOptions,
    pub(crate) labels: ModelLabels,
    pub(crate) backend: &'static str,
    pub(crate) open: Open,
    pub(crate) metrics: WorkerHandles,
    state: Mutex<State>,
    changed: Condvar,
    /// The model, as the first worker told it.
    opened: OnceLock<(Opened, Arc<ModelSignature>)>,
    /// A batch that went well, to try fresh workers with.
    trial: OnceLock<Vec<BatchInput>>,
    /// Instances that are at home in each worker.
    homes: Vec<AtomicUsize>,
    next_home: AtomicUsize,
    /// Counts the starts that went well.
    starts: AtomicU64,
    /// Whether there is no worker, and too many have died.
    broken: AtomicBool,
    /// What the engine said in the first worker that could not load the model.
    refusal: Mutex<Option<BackendError>>,
}

/// A group before its model is known.
pub(crate) struct Plan<'a> {
    pub(crate) command: &'a WorkerCommand,
    pub(crate) options: WorkerOptions,
    pub(crate) labels: ModelLabels,
    pub(crate) backend: &'static str,
    pub(crate) open: Open,
    pub(crate) metrics: &'a WorkerMetrics,
}

impl Group {
    pub(crate) fn new(plan: Plan<'_>) -> Arc<Self> {
        let Plan { command, options, labels, backend, open, metrics } = plan;
        Arc::new(Self {
            state: Mutex::new(State::new(&options)),
            homes: (0..options.count).map(|_| AtomicUsize::new(0)).collect(),
            command: command.clone(),
            metrics: metrics.model(&labels),
            options,
            labels,
            backend,
            open,
            changed: Condvar::new(),
            opened: OnceLock::new(),
            trial: OnceLock::new(),
            next_home: AtomicUsize::new(0),
            starts: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            refusal: Mutex::new(None),
        })
    }

    /// The model, once a worker has told it.
    pub(crate) fn opened(&self) -> Option<&(Opened, Arc<ModelSignature>)> {
        self.opened.get()
    }

    /// Takes what a worker tells of the model; refuses what differs from what the first told.
    pub(crate) fn learn(&self, told: &Opened) -> Result<(), Failure> {
        let violation = |what: &str| Failure::Violation(crate::link::invalid(what));
        let signature = told.signature().ok_or_else(|| violation("its model's signature cannot be read"))?;
        let (known, _) = self.opened.get_or_init(|| (told.clone(), Arc::new(signature)));
        if known.signature() != told.signature() || known.keeps_state != told.keeps_state {
            let reason =
                "the model's files have changed since it was loaded; load the model again".to_owned();
            return Err(Failure::Said(Fault::Broken { reason }));
        }
        Ok(())
    }

    /// Whether a fresh worker is tried before it is used, and with what.
    pub(crate) fn trial(&self) -> Option<&[BatchInput]> {
        self.trial.get().map(Vec::as_slice)
    }

    /// Keeps the first batch that went well, if it is not too large. Not that of a model that keeps something of it, or that has
    /// to know of its requests, which are not kept.
    pub(crate) fn note_trial(&self, inputs: &[BatchInput]) {
        let is_tried = self.opened().is_some_and(|(opened, _)| !opened.keeps_state && !opened.reads_requests);
        if !is_tried || self.trial.get().is_some() {
            return;
        }
        let bytes: usize = inputs.iter().flat_map(BatchInput::chunks).map(<[u8]>::len).sum();
        let copies = if bytes > MAX_TRIAL_BYTES {
            Some(Vec::new())
        } else {
            inputs.iter().map(copied).collect()
        };
        // An empty one stands for none: it is not to be looked for again.
        let _ = self.trial.set(copies.unwrap_or_default());
    }

    /// The home of the next instance.
    pub(crate) fn settle(&self) -> usize {
        let home = self.next_home.fetch_add(1, Ordering::Relaxed) % self.homes.len().max(1);
        self.homes[home].fetch_add(1, Ordering::Relaxed);
        home
    }

    /// An instance is gone.
    pub(crate) fn leave(&self, home: usize) {
        self.homes[home].fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections that a fresh worker opens ahead.
    pub(crate) fn wanted_spares(&self, index: usize) -> usize {
        self.homes[index].load(Ordering::Relaxed).max(1)
    }

    /// Counts the starts that went well: when it has changed, an instance may go home.
    pub(crate) fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Whether a connection can be had without waiting for a worker.
    pub(crate) fn has_up(&self) -> bool {
        self.state.lock().has_up()
    }

    pub(crate) fn is_up(&self, index: usize) -> bool {
        matches!(&self.state.lock().slots[index].worker, Worker::Up(process) if !process.is_gone())
    }

    /// Why the model cannot answer now, if it cannot.
    pub(crate) fn unready(&self) -> Option<Arc<str>> {
        if !self.broken.load(Ordering::Relaxed) {
            return None;
        }
        self.state.lock().why_broken(&self.options)
    }

    /// A connection: one that is open already, else a new one, at home if possible. Waits for a worker to start, which whoever
    /// lent the thread is told.
    ///
    /// # Errors
    /// [`BackendError::Broken`] where there is none in time, or none is to be expected; [`BackendError::Interrupted`].
    pub(crate) fn connect(
        &self,
        home: usize,
        interrupt: &RemoteInterrupt,
    ) -> Result<(usize, Connection), BackendError> {
        match self.find(home) {
            Found::Spare(index, connection) => Ok((index, connection)),
            found => while_waiting(|| self.wait_for_connection(found, home, interrupt)),
        }
    }

    fn find(&self, home: usize) -> Found {
        self.state.lock().find(home, &self.options)
    }

    fn wait_for_connection(
        &self,
        mut found: Found,
        home: usize,
        interrupt: &RemoteInterrupt,
    ) -> Result<(usize, Connection), BackendError> {
        let deadline = Instant::now() + self.options.start_timeout;
        let goes_on = || !interrupt.is_asked();
        let broken = |reason: String| Err(BackendError::Broken { reason });
        loop {
            match found {
                Found::Spare(index, connection) => return Ok((index, connection)),
                Found::Up(index, process) => {
                    match Connection::open(&process, &self.open, (deadline, &goes_on)) {
                        Ok((connection, told)) => {
                            self.learn(&told).map_err(|failure| self.error(failure))?;
                            return Ok((index, connection));
                        }
                        Err(Failure::Died(_)) => process.kill(Order::None),
                        Err(Failure::Late) if interrupt.is_asked() => {}
                        Err(failure) => return Err(self.error(failure)),
                    }
                }
                Found::Nothing => {}
                Found::Closed => return broken("the model is being unloaded".to_owned()),
                Found::Broken(reason) => return broken((*reason).to_owned()),
            }
            if interrupt.is_asked() {
                return Err(BackendError::Interrupted);
            }
            self.wait_for_worker(deadline)?;
            found = self.find(home);
        }
    }

    /// Waits a little for a worker to come up, if none is.
    fn wait_for_worker(&self, deadline: Instant) -> Result<(), BackendError> {
        let mut state = self.state.lock();
        if Instant::now() >= deadline {
            let within = self.options.start_timeout;
            let reason =
                format!("no worker process of the model started within {within:?}: {}", state.reasons());
            return Err(BackendError::Broken { reason });
        }
        if !state.has_up() {
            self.changed.wait_for(&mut state, LOOK_EVERY);
        }
        Ok(())
    }

    /// What a worker's failure is to the engine.
    pub(crate) fn error(&self, failure: Failure) -> BackendError {
        let broken = |reason: String| BackendError::Broken { reason };
        match failure {
            Failure::Said(fault) => fault.into_error(self.backend),
            Failure::TooLarge(error) => BackendError::Execution { reason: error.to_string() },
            Failure::Died(error) => broken(format!("the model's worker process died: {error}")),
            Failure::Violation(error) => {
                broken(format!("the model's worker process broke the protocol: {error}"))
            }
            Failure::Late => broken("the model's worker process took too long".to_owned()),
        }
    }

    /// For keepers: a process is being started in a place. `false` where the group is closed.
    pub(crate) fn starting(&self, index: usize, process: &Arc<Process>) -> bool {
        let mut state = self.state.lock();
        state.slots[index].worker = Worker::Starting(Arc::clone(process));
        !state.closed
    }

    /// For keepers: it is ready.
    pub(crate) fn started(&self, index: usize, process: &Arc<Process>, spares: Vec<Connection>) {
        let mut state = self.state.lock();
        let slot = &mut state.slots[index];
        (slot.worker, slot.spares, slot.reason) = (Worker::Up(Arc::clone(process)), spares, None);
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.broken.store(false, Ordering::Relaxed);
        drop(state);
        self.metrics.started();
        self.changed.notify_all();
    }

    /// For keepers: it is gone, or could not be started. Gives the delay before the next one and how often it has failed;
    /// nothing where the model is not loaded yet, and so will not be.
    pub(crate) fn ended(&self, index: usize, life: Life, reason: &str) -> Option<(Duration, u32)> {
        let mut state = self.state.lock();
        let slot = &mut state.slots[index];
        (slot.worker, slot.reason) = (Worker::Down, Some(reason.into()));
        let spares = std::mem::take(&mut slot.spares);
        slot.ended(life, Instant::now());
        let next = (slot.restarts.delay(), slot.restarts.failures());
        let next = state.loaded.then_some(next);
        let broken = state.why_broken(&self.options).is_some();
        self.broken.store(broken, Ordering::Relaxed);
        drop(state);
        drop(spares);
        self.changed.notify_all();
        next
    }

    /// For keepers: what the engine said.
    pub(crate) fn note_refusal(&self, error: BackendError) {
        self.refusal.lock().get_or_insert(error);
    }

    /// For keepers: how a worker died. One that is not needed any more has not.
    pub(crate) fn died(&self, was_up: bool, death: Death) {
        if was_up {
            self.metrics.stopped();
        }
        if death.is_fault() {
            self.metrics.died(death.cause());
        }
    }

    /// For keepers: waits; `false` where the group was closed meanwhile.
    pub(crate) fn pause(&self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        let mut state = self.state.lock();
        while !state.closed && Instant::now() < until {
            self.changed.wait_until(&mut state, until);
        }
        !state.closed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Waits until every place has a worker.
    ///
    /// # Errors
    /// What went wrong with the first that has failed: in the engine's own words, or with the worker's end as the reason.
    pub(crate) fn wait_for_start(&self) -> Result<(), Result<BackendError, Arc<str>>> {
        let mut state = self.state.lock();
        loop {
            if let Some(reason) = state.slots.iter().find_map(|slot| slot.reason.clone()) {
                drop(state);
                return Err(self.refusal.lock().take().ok_or(reason));
            }
            if state.slots.iter().all(|slot| matches!(slot.worker, Worker::Up(_))) {
                state.loaded = true;
                return Ok(());
            }
            self.changed.wait(&mut state);
        }
    }

    /// Ends all workers, and those that are being started.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for slot in &mut state.slots {
            if let Worker::Starting(process) | Worker::Up(process) = &slot.worker {
                process.kill(Order::Closed);
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// An input with its data in an allocation of its own.
fn copied(input: &BatchInput) -> Option<BatchInput> {
    let mut buffer = AlignedBuffer::default();
    buffer.gather(input.chunks());
    let whole = Tensor::new(input.datatype, input.shape.clone(), Bytes::from_owner(buffer)).ok()?;
    Some(BatchInput { parts: vec![whole], ..input.clone() })
}

#[cfg(test)]
mod tests {
    use adulis_backend::{Backend, BuiltIn, EngineOptions, LoadRequest};
    use adulis_tensor::{DataType, Shape};

    use super::*;

    fn group(parameters: &[(&str, &str)]) -> Arc<Group> {
        let parameters = parameters.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let request = LoadRequest {
            name: "m".into(),
            version: 1,
            path: "none".into(),
            declared: None,
            options: EngineOptions { parameters: parameters.collect(), ..EngineOptions::default() },
        };
        let group = Group::new(Plan {
            command: &WorkerCommand { program: "none".into(), arguments: Vec::new() },
            options: WorkerOptions::default(),
            labels: ModelLabels { model: "m".into(), version: 1 },
            backend: "identity",
            open: Open { backend: "identity".to_owned(), max_body_bytes: 0, model: None },
            metrics: &WorkerMetrics::default(),
        });
        group.learn(&Opened::of(&*BuiltIn.load(&request).unwrap())).unwrap();
        group
    }

    #[test]
    fn fresh_workers_are_tried_with_what_needs_no_request() {
        let tensor = Tensor::new(DataType::Uint8, Shape::from([1, 1]), Bytes::from_static(b"x")).unwrap();
        let (datatype, shape) = (tensor.datatype(), tensor.shape().clone());
        let batch = [BatchInput { index: 0, name: "in".into(), datatype, shape, parts: vec![tensor] }];
        for (parameters, is_tried) in [(&[][..], true), (&[("echo_parameters", "true")], false)] {
            let group = group(parameters);
            group.note_trial(&batch);
            assert_eq!(group.trial().is_some(), is_tried, "{parameters:?}");
        }
    }
}
