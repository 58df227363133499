use std::collections::HashMap;
use std::sync::Arc;

use adulis_backend::Interrupt;
use parking_lot::Mutex;

/// What the connections run, so that it can be interrupted.
#[derive(Default)]
pub(super) struct Runs(Mutex<HashMap<u64, Arc<CurrentRun>>>);

/// What one connection runs.
pub(super) struct CurrentRun {
    number: Mutex<Option<u64>>,
    interrupt: Option<Arc<dyn Interrupt>>,
}

impl Runs {
    pub(super) fn add(&self, connection: u64, interrupt: Option<Arc<dyn Interrupt>>) -> Arc<CurrentRun> {
        let current = Arc::new(CurrentRun { number: Mutex::new(None), interrupt });
        self.0.lock().insert(connection, Arc::clone(&current));
        current
    }

    pub(super) fn remove(&self, connection: u64) {
        self.0.lock().remove(&connection);
    }

    /// Asks the run of this number to end. Another one, or none, is left alone.
    pub(super) fn interrupt(&self, connection: u64, run: u64) {
        let current = self.0.lock().get(&connection).cloned();
        if let Some(current) = current {
            let number = current.number.lock();
            // Under the lock, so that the next run cannot have begun.
            if let Some(interrupt) = current.interrupt.as_ref().filter(|_| *number == Some(run)) {
                interrupt.interrupt();
            }
        }
    }
}

impl CurrentRun {
    pub(super) fn begin(&self, run: u64) {
        *self.number.lock() = Some(run);
    }

    pub(super) fn end(&self) {
        *self.number.lock() = None;
    }
}
