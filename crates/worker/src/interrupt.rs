use std::sync::Arc;

use adulis_backend::Interrupt;
use parking_lot::Mutex;

use crate::death::Order;
use crate::process::Process;

/// What an instance is doing, so that another thread can stop it.
#[derive(Debug, Default)]
pub(crate) struct RemoteInterrupt(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether there is a run at all, waiting for a worker or on it.
    runs: bool,
    asked: bool,
    forced: bool,
    /// The worker that has it, with the numbers of connection and run.
    at: Option<(Arc<Process>, u64, u64)>,
}

impl RemoteInterrupt {
    /// A run begins.
    pub(crate) fn begin(&self) {
        *self.0.lock() = State { runs: true, ..State::default() };
    }

    /// A worker has it now. `false` where it was asked to stop already.
    pub(crate) fn hand_over(&self, process: &Arc<Process>, connection: u64, run: u64) -> bool {
        let mut state = self.0.lock();
        state.at = Some((Arc::clone(process), connection, run));
        !state.asked
    }

    /// No worker has it.
    pub(crate) fn take_back(&self) {
        self.0.lock().at = None;
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        *self.0.lock() = State::default();
    }

    /// Whether it was asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.lock().asked
    }

    /// Whether its worker was killed for it.
    pub(crate) fn is_forced(&self) -> bool {
        self.0.lock().forced
    }
}

impl Interrupt for RemoteInterrupt {
    fn interrupt(&self) {
        let mut state = self.0.lock();
        if !state.runs {
            return;
        }
        state.asked = true;
        if let Some((process, connection, run)) = &state.at {
            process.interrupt(*connection, *run);
        }
    }

    fn force(&self) -> bool {
        let mut state = self.0.lock();
        if !state.runs {
            return false;
        }
        (state.asked, state.forced) = (true, true);
        if let Some((process, ..)) = &state.at {
            process.kill(Order::Overrun);
        }
        true
    }
}
