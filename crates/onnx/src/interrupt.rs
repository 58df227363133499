use std::ptr::{self, NonNull};

use adulis_backend::Interrupt;
use ort::sys;
use parking_lot::Mutex;

use crate::api::{OrtError, api, call, filled};
use crate::logs;

/// Run options of one instance and the state that makes stopping a run race-free.
///
/// The lock is held when a run begins and when it ends, never during it: an interrupt either meets the run in progress
/// or does nothing, and never stops the run after it.
#[derive(Debug)]
pub(crate) struct RunControl {
    options: NonNull<sys::OrtRunOptions>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Running,
    Interrupted,
}

// SAFETY: the options may be used from any thread; their one mutable part, the flag that ends a run, is made to be set
// from another thread while a run reads it, and is written under the lock only.
unsafe impl Send for RunControl {}
// SAFETY: as above.
unsafe impl Sync for RunControl {}

impl RunControl {
    pub(crate) fn new() -> Result<Self, OrtError> {
        let mut options = ptr::null_mut();
        // SAFETY: the place is written on success.
        unsafe { call!(CreateRunOptions(&raw mut options)) }?;
        let control = Self { options: filled(options, "run options")?, state: Mutex::new(State::Idle) };
        let level = logs::run_level() as i32;
        // SAFETY: the options are valid until dropped.
        unsafe { call!(RunOptionsSetRunLogSeverityLevel(control.options.as_ptr(), level)) }?;
        Ok(control)
    }

    pub(crate) fn as_ptr(&self) -> *const sys::OrtRunOptions {
        self.options.as_ptr()
    }

    /// Marks the beginning of a run.
    pub(crate) fn begin(&self) {
        *self.state.lock() = State::Running;
    }

    /// Marks the end of a run and says whether it was asked to stop. The next run starts unasked.
    pub(crate) fn end(&self) -> Result<bool, OrtError> {
        let mut state = self.state.lock();
        let interrupted = *state == State::Interrupted;
        *state = State::Idle;
        if interrupted {
            // SAFETY: the options are valid until dropped, and no run uses them: it has just ended.
            unsafe { call!(RunOptionsUnsetTerminate(self.options.as_ptr())) }?;
        }
        Ok(interrupted)
    }
}

impl Interrupt for RunControl {
    fn interrupt(&self) {
        let mut state = self.state.lock();
        if *state == State::Running {
            // SAFETY: the options are valid until dropped; a run reads the flag between operators.
            if unsafe { call!(RunOptionsSetTerminate(self.options.as_ptr())) }.is_ok() {
                *state = State::Interrupted;
            }
        }
    }
}

impl Drop for RunControl {
    fn drop(&mut self) {
        // SAFETY: owned, so released once; an instance drops it after its last run.
        unsafe { (api().ReleaseRunOptions)(self.options.as_ptr()) }
    }
}
