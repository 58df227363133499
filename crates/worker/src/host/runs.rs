use std::collections::HashMap;
use std::sync::Arc;

use adulis_backend::Interrupt;
use parking_lot::Mutex;

/// What the connections run, so that it can be interrupted.
#[derive(Default)]
pub(super) struct Runs(Mutex<HashMap<u64, Arc<CurrentRun>>>);

/// What one connection runs.
pub(super) struct CurrentRun {
    state: Mutex<State>,
    interrupt: Option<Arc<dyn Interrupt>>,
}

#[derive(Default)]
struct State {
    /// The number of the run in progress.
    running: Option<u64>,
    /// That of the one which was asked to end last. It may be still to come: a run and what asks it to end come on sockets of
    /// their own.
    asked: Option<u64>,
}

impl Runs {
    pub(super) fn add(&self, connection: u64, interrupt: Option<Arc<dyn Interrupt>>) -> Arc<CurrentRun> {
        let current = Arc::new(CurrentRun { state: Mutex::default(), interrupt });
        self.0.lock().insert(connection, Arc::clone(&current));
        current
    }

    pub(super) fn remove(&self, connection: u64) {
        self.0.lock().remove(&connection);
    }

    /// Asks the run of this number to end. Another one is left alone.
    pub(super) fn interrupt(&self, connection: u64, run: u64) {
        let current = self.0.lock().get(&connection).cloned();
        if let Some(current) = current {
            let mut state = current.state.lock();
            state.asked = Some(run);
            // Under the lock, so that the next run cannot have begun.
            if let Some(interrupt) = current.interrupt.as_ref().filter(|_| state.running == Some(run)) {
                interrupt.interrupt();
            }
        }
    }
}

impl CurrentRun {
    pub(super) fn begin(&self, run: u64) {
        self.state.lock().running = Some(run);
    }

    /// Whether the run that has begun was asked to end already.
    pub(super) fn is_asked(&self) -> bool {
        let state = self.state.lock();
        state.running.is_some() && state.running == state.asked
    }

    pub(super) fn end(&self) {
        self.state.lock().running = None;
    }
}
