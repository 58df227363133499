//! The execution threads themselves: how many there are, and who stands in for one that does not execute.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use adulis_backend::Lender;

use super::Executor;
use crate::instances::Instances;

/// Those that there are, but for the ones that are stuck. As many of them execute, or would, as the executor was started with.
#[derive(Default)]
pub(super) struct Threads {
    running: HashMap<ThreadId, Thread>,
    /// Threads that were started so far.
    started: usize,
}

struct Thread {
    handle: JoinHandle<()>,
    /// Whether another has its place, so that it ends with its run.
    has_stand_in: bool,
}

impl Threads {
    /// Starts one.
    pub(super) fn start(&mut self, executor: &Arc<Executor>) -> io::Result<()> {
        let index = self.started;
        self.started += 1;
        let executor = Arc::clone(executor);
        let handle = thread::Builder::new()
            .name(format!("adulis-exec-{index}"))
            .spawn(move || executor.work())?;
        self.running.insert(handle.thread().id(), Thread { handle, has_stand_in: false });
        Ok(())
    }

    /// Starts one in the place of another, which is in a run, unless that has been done.
    pub(super) fn stand_in(&mut self, executor: &Arc<Executor>, place: ThreadId) -> io::Result<()> {
        // Those that had one before have ended, or will.
        self.running.retain(|_, thread| !thread.handle.is_finished());
        // One that is forgotten was stuck, and has been replaced.
        if self.running.get(&place).is_none_or(|thread| thread.has_stand_in) {
            return Ok(());
        }
        self.start(executor)?;
        if let Some(thread) = self.running.get_mut(&place) {
            thread.has_stand_in = true;
        }
        Ok(())
    }

    /// Nobody waits for the end of this one any more.
    pub(super) fn forget(&mut self, stuck: ThreadId) {
        self.running.remove(&stuck);
    }

    /// Those that have ended, and how many have not.
    pub(super) fn take_ended(&mut self) -> (Vec<JoinHandle<()>>, usize) {
        let ended = self.running.extract_if(|_, thread| thread.handle.is_finished());
        let ended = ended.map(|(_, thread)| thread.handle).collect();
        (ended, self.running.len())
    }
}

/// What an execution thread knows of its run: whether that only waits, for a worker process to start, say. Then another thread
/// stands in for it, so that other models go on, and this one ends with the run. There are at most as many of them as instances.
pub(super) struct ExecutionThread {
    executor: Arc<Executor>,
    since: Cell<Option<Instant>>,
    waited: Cell<Duration>,
    has_stand_in: Cell<bool>,
    /// The model that it runs and the place of the instance, where its runs have a limit.
    run: RefCell<Option<(Arc<Instances>, usize)>>,
}

impl ExecutionThread {
    pub(super) fn new(executor: &Arc<Executor>) -> Self {
        Self {
            executor: Arc::clone(executor),
            since: Cell::default(),
            waited: Cell::default(),
            has_stand_in: Cell::default(),
            run: RefCell::default(),
        }
    }

    /// It runs this model's instance at a place from now on.
    pub(super) fn begins(&self, model: &Arc<Instances>, place: usize) {
        self.run.replace(model.has_limit().then(|| (Arc::clone(model), place)));
    }

    /// Whether another thread has its place.
    pub(super) fn has_stand_in(&self) -> bool {
        self.has_stand_in.get()
    }

    /// The run has ended. Gives how long it has waited.
    pub(super) fn ended(&self) -> Duration {
        self.run.take();
        self.waited.take()
    }
}

impl Lender for ExecutionThread {
    fn waits(&self) {
        if let Some((model, place)) = &*self.run.borrow() {
            model.pause(*place);
        }
        self.executor.metrics.execution_threads_busy().dec();
        self.since.set(Some(Instant::now()));
        if self.has_stand_in() {
            return;
        }
        let started = self.executor.threads.lock().stand_in(&self.executor, thread::current().id());
        match started {
            Ok(()) => self.has_stand_in.set(true),
            Err(error) => tracing::warn!(%error, "no thread in the place of one that waits"),
        }
    }

    fn goes_on(&self) {
        self.executor.metrics.execution_threads_busy().inc();
        if let Some(since) = self.since.take() {
            self.waited.set(self.waited.get() + since.elapsed());
        }
        if let Some((model, place)) = &*self.run.borrow() {
            model.go_on(*place);
        }
    }
}
