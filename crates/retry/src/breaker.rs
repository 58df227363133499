use std::time::{Duration, Instant};

use crate::{Backoff, BackoffOptions};

/// When a breaker opens, and when it tries again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Failures in a row that open it.
    pub consecutive_failures: u32,
    /// Share of failed operations within [`BreakerOptions::window`] that opens it, in percent.
    pub failure_percent: u32,
    /// Operations within the window below which the share says nothing.
    pub minimum_operations: u32,
    /// How far the share looks back.
    pub window: Duration,
    /// How long it stays open the first time, at most.
    pub min_delay: Duration,
    /// How long it stays open at most: the delay doubles with each probe that fails. Half of each is left to chance, so that
    /// replicas do not probe a backend all at once.
    pub max_delay: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_percent: 50,
            minimum_operations: 20,
            window: Duration::from_secs(10),
            min_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(15),
        }
    }
}

/// How an operation ended, as far as the backend's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered in time, be it with an error that concerns the one operation.
    Success,
    /// It could not be reached, answered with nonsense, or not in time.
    Failure,
}

/// Whether operations pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// They pass.
    Closed,
    /// They don't; a probe is under way.
    HalfOpen,
    /// They don't.
    Open,
}

impl BreakerState {
    /// As metrics tell it: 0 closed, 1 half-open, 2 open.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// Leave to do one operation, to be given back with [`Breaker::record`]. One that is not given back, because the operation was
/// cancelled, is as if it had never been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Admission {
    /// Outcomes from before the last opening say nothing about now.
    generation: u64,
}

/// Successes after a probe that succeeded, until a single failure is no longer enough to open the breaker again and the delay
/// is the shortest again.
const TRIAL: u32 = 3;

/// Parts of the window that are forgotten one by one.
const PARTS: usize = 10;

/// Keeps operations away from a backend that is down.
///
/// A state machine without clock: time is an argument. Operations pass while it is closed. It opens after so many failures in
/// a row, or when too large a share of the operations of the last while failed. Then nothing passes but probes, one at a time,
/// after a delay that doubles from probe to probe. A probe that succeeds closes it, on trial: the next failure opens it again,
/// with the longer delay, unless some operations have succeeded before.
///
/// Sources: M. Nygard, "Release It!", the chapter on circuit breakers; linkerd's failure accrual.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: State,
    generation: u64,
    /// How long the next openings last.
    delays: Backoff,
    window: Window,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        /// Failures since the last success.
        failures: u32,
        /// Successes that are still to come until it is trusted again.
        trial: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        let delays =
            Backoff::new(BackoffOptions { min_delay: options.min_delay, max_delay: options.max_delay });
        let window = Window::new(options.window);
        let state = State::Closed { failures: 0, trial: 0 };
        Self { options, state, generation: 0, delays, window }
    }

    /// Leave to do an operation; `None`: it is not to be tried.
    #[must_use]
    pub fn admit(&self) -> Option<Admission> {
        matches!(self.state, State::Closed { .. }).then_some(Admission { generation: self.generation })
    }

    /// Takes note of how an operation ended. True if that opened the breaker.
    pub fn record(&mut self, admission: Admission, outcome: Outcome, now: Instant) -> bool {
        let State::Closed { failures, trial } = self.state else {
            return false;
        };
        if admission.generation != self.generation {
            return false;
        }
        self.window.record(outcome, now);
        if outcome == Outcome::Success {
            let trial = trial.saturating_sub(1);
            if trial == 0 {
                self.delays.reset();
            }
            self.state = State::Closed { failures: 0, trial };
            return false;
        }
        let failures = failures.saturating_add(1);
        self.state = State::Closed { failures, trial };
        let opens = trial > 0 || failures >= self.options.consecutive_failures || self.is_mostly_failing();
        if opens {
            self.open(now);
        }
        opens
    }

    /// Opens it because it is known that the backend is down, as a probe at the start does. True if it was closed.
    pub fn trip(&mut self, now: Instant) -> bool {
        let was_closed = matches!(self.state, State::Closed { .. });
        if was_closed {
            self.open(now);
        }
        was_closed
    }

    /// Closes it, on trial, because it is known that the backend answers. A probe that is under way says nothing then.
    pub fn heal(&mut self) {
        if !matches!(self.state, State::Closed { .. }) {
            self.close();
        }
    }

    /// When the next probe is due; `None` while it is closed or a probe is under way.
    #[must_use]
    pub fn next_probe(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            _ => None,
        }
    }

    /// Begins a probe, if one is due. It must be ended with [`Breaker::end_probe`].
    #[must_use]
    pub fn begin_probe(&mut self, now: Instant) -> bool {
        let is_due = self.next_probe().is_some_and(|until| until <= now);
        if is_due {
            self.state = State::HalfOpen;
        }
        is_due
    }

    /// Ends the probe that is under way. True if that closed the breaker.
    pub fn end_probe(&mut self, outcome: Outcome, now: Instant) -> bool {
        if !matches!(self.state, State::HalfOpen) {
            return false;
        }
        match outcome {
            Outcome::Success => self.close(),
            Outcome::Failure => self.open(now),
        }
        outcome == Outcome::Success
    }

    /// Whether operations pass.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::HalfOpen => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
        }
    }

    fn close(&mut self) {
        self.window = Window::new(self.options.window);
        self.state = State::Closed { failures: 0, trial: TRIAL };
    }

    fn open(&mut self, now: Instant) {
        self.generation += 1;
        self.state = State::Open { until: now + self.delays.next_delay() };
    }

    fn is_mostly_failing(&self) -> bool {
        let (failed, all) = self.window.counts();
        let minimum = u64::from(self.options.minimum_operations);
        all >= minimum && failed * 100 >= all * u64::from(self.options.failure_percent)
    }
}

/// Counts of the last while, in parts.
#[derive(Debug)]
struct Window {
    part: Duration,
    /// When the newest part began; `None` before the first operation.
    begun: Option<Instant>,
    /// Failed and all, newest last.
    parts: [(u64, u64); PARTS],
}

impl Window {
    fn new(length: Duration) -> Self {
        let parts = u32::try_from(PARTS).unwrap_or(1);
        let part = (length / parts).max(Duration::from_millis(1));
        Self { part, begun: None, parts: [(0, 0); PARTS] }
    }

    fn record(&mut self, outcome: Outcome, now: Instant) {
        self.advance(now);
        let (failed, all) = &mut self.parts[PARTS - 1];
        *failed += u64::from(outcome == Outcome::Failure);
        *all += 1;
    }

    fn advance(&mut self, now: Instant) {
        let begun = *self.begun.get_or_insert(now);
        let passed = now.saturating_duration_since(begun).as_nanos() / self.part.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed == 0 {
            return;
        }
        let gone = usize::try_from(passed).unwrap_or(PARTS).min(PARTS);
        self.parts.rotate_left(gone % PARTS);
        self.parts[PARTS - gone..].fill((0, 0));
        // So long a pause that the sum would not be a time: then nothing is left, and the part may begin now.
        self.begun = self.part.checked_mul(passed).and_then(|by| begun.checked_add(by)).or(Some(now));
    }

    fn counts(&self) -> (u64, u64) {
        self.parts.iter().fold((0, 0), |(failed, all), part| (failed + part.0, all + part.1))
    }
}

#[cfg(test)]
mod tests;
