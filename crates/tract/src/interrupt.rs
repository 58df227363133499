use std::sync::atomic::{AtomicU8, Ordering};

use adulis_backend::Interrupt;

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const INTERRUPTED: u8 = 2;

/// The state of one instance's run. It can be stopped between two nodes of the graph; a loop is one node.
#[derive(Debug, Default)]
pub(crate) struct RunControl(AtomicU8);

impl RunControl {
    /// Marks the beginning of a run.
    pub(crate) fn begin(&self) {
        self.0.store(RUNNING, Ordering::Release);
    }

    /// Whether the run in progress is asked to stop.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.0.load(Ordering::Acquire) == INTERRUPTED
    }

    /// Marks the end of a run and says whether it was asked to stop.
    pub(crate) fn end(&self) -> bool {
        self.0.swap(IDLE, Ordering::AcqRel) == INTERRUPTED
    }
}

impl Interrupt for RunControl {
    fn interrupt(&self) {
        // Between runs there is nothing to stop, and the next run must not be.
        let _ = self.0.compare_exchange(RUNNING, INTERRUPTED, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_run_in_progress_is_stopped() {
        let control = RunControl::default();
        control.interrupt();
        control.begin();
        assert!(!control.is_interrupted());
        control.interrupt();
        assert!(control.is_interrupted() && control.end());
        control.begin();
        assert!(!control.end());
    }
}
