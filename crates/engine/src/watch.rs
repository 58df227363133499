//! What is watched of a model: how long its runs take, and whether it answers at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adulis_repository::ModelConfig;
use adulis_retry::{Backoff, BackoffOptions};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{oneshot, watch};

use crate::Settings;
use crate::admission::Interface;
use crate::ensemble::{Cause, Unready};
use crate::job::{JobInputs, Reply};
use crate::lane::Place;
use crate::warmup;

/// How long a run that was asked to stop has for it, at least and at most; between them, as long as it had to end by itself.
const GRACE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5);

/// The pauses between trials of a model that does not answer.
const PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(100), max_delay: Duration::from_secs(60) };

/// How a model is watched. There is none for models whose configuration wants nothing of it.
pub(crate) struct Watch {
    /// How long a run may take; `None`: any time.
    pub(crate) limit: Option<ExecutionLimit>,
    /// How often the model is tried while nobody asks it anything; `None`: never.
    pub(crate) self_check: Option<Duration>,
    /// What it is tried with: its smallest inputs, all zeros. `None` where they can't be made.
    pub(crate) trial: Option<JobInputs>,
    /// Whether it answered that when it was loaded. If not, an error is an answer, too.
    pub(crate) proven: bool,
    health: RwLock<Health>,
    /// Counts the runs that were written off.
    written_off: watch::Sender<u64>,
    pub(crate) ward: Mutex<Ward>,
}

/// How long a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExecutionLimit {
    pub(crate) limit: Duration,
    /// From being asked to stop to being written off.
    pub(crate) grace: Duration,
}

/// Whether a model answers, as far as is known.
#[derive(Debug, Clone, Default)]
enum Health {
    #[default]
    Good,
    /// It did not; requests are still put to it.
    Doubtful(Arc<str>),
    /// It can't: its threads are stuck, and there are no more.
    Stuck(Arc<str>),
}

/// A trivial request that was put to a model.
pub(crate) struct Trial {
    pub(crate) reply: oneshot::Receiver<Reply>,
    pub(crate) place: Place,
    pub(crate) since: Instant,
}

/// What the watchdog remembers of a model between two looks.
pub(crate) struct Ward {
    /// Runs that had succeeded at the last look.
    pub(crate) runs: u64,
    pub(crate) trial: Option<Trial>,
    /// When it is tried next; `None`: not by itself.
    pub(crate) next: Option<Instant>,
    pauses: Backoff,
}

impl Default for Ward {
    fn default() -> Self {
        Self { runs: 0, trial: None, next: None, pauses: Backoff::new(PAUSES) }
    }
}

impl Ward {
    /// When a model that failed is tried again: later each time.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.trial = None;
        self.next = Some(now + self.pauses.next_delay());
    }

    /// It answers.
    pub(crate) fn answered(&mut self, now: Instant, self_check: Option<Duration>) {
        self.trial = None;
        self.pauses.reset();
        self.next = self_check.map(|every| now + every);
    }
}

impl Watch {
    /// What the configuration wants; `None` where that is nothing. `proven` says whether the model ran on zeros when it was
    /// loaded.
    pub(crate) fn new(
        config: &ModelConfig,
        settings: &Settings,
        interface: &Interface,
        proven: bool,
    ) -> Option<Box<Self>> {
        let set = |time: &Duration| !time.is_zero();
        let limit = config.safeguards.max_execution_time.or(settings.max_execution_time).filter(set);
        let self_check = config.safeguards.self_check_interval.filter(set);
        if config.decoupled
            || config.scheduling.sequence().is_some()
            || (limit.is_none() && self_check.is_none())
        {
            return None;
        }
        let trial = warmup::trivial(interface).and_then(|inputs| {
            interface
                .admit(inputs, &[])
                .map(|admitted| admitted.inputs)
                .map_err(|error| error.to_string())
        });
        let trial = trial.inspect_err(|reason| {
            tracing::warn!(model = %interface.model, reason, "it can't be tried: no trivial inputs can be made for it");
        });
        Some(Box::new(Self {
            limit: limit.map(ExecutionLimit::new),
            self_check,
            trial: trial.ok(),
            proven,
            health: RwLock::default(),
            written_off: watch::Sender::default(),
            ward: Mutex::new(Ward {
                next: self_check.map(|every| Instant::now() + every),
                ..Ward::default()
            }),
        }))
    }

    /// Whether the model answers as far as is known.
    pub(crate) fn healthy(&self) -> Result<(), Unready> {
        match &*self.health.read() {
            Health::Good => Ok(()),
            Health::Doubtful(reason) | Health::Stuck(reason) => Err(broken(Arc::clone(reason))),
        }
    }

    /// Whether requests may be put to it.
    pub(crate) fn usable(&self) -> Result<(), Unready> {
        match &*self.health.read() {
            Health::Stuck(reason) => Err(broken(Arc::clone(reason))),
            Health::Good | Health::Doubtful(_) => Ok(()),
        }
    }

    /// It answers. True if it did not before.
    pub(crate) fn turn_green(&self) -> bool {
        let mut health = self.health.write();
        let was_red = !matches!(*health, Health::Good);
        *health = Health::Good;
        was_red
    }

    /// It did not answer. True if it did before.
    pub(crate) fn turn_red(&self, reason: Arc<str>, is_stuck: bool) -> bool {
        let mut health = self.health.write();
        let was_green = matches!(*health, Health::Good);
        if is_stuck {
            *health = Health::Stuck(reason);
        } else if !matches!(*health, Health::Stuck(_)) {
            *health = Health::Doubtful(reason);
        }
        was_green
    }

    /// Tells callers that some runs were written off: each has to look whether its own is among them.
    pub(crate) fn tell_written_off(&self) {
        self.written_off.send_modify(|count| *count += 1);
    }

    /// Hears of runs that are written off from now on.
    pub(crate) fn hear_written_off(&self) -> watch::Receiver<u64> {
        self.written_off.subscribe()
    }
}

impl ExecutionLimit {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, grace: limit.clamp(*GRACE.start(), *GRACE.end()) }
    }
}

pub(crate) fn broken(reason: Arc<str>) -> Unready {
    Unready { reason, cause: Cause::Broken }
}

/// Threads that are stuck in runs that were written off, and how many there may be.
pub(crate) struct StuckThreads {
    count: AtomicU64,
    most: u64,
}

impl StuckThreads {
    pub(crate) fn new(most: usize) -> Self {
        Self { count: AtomicU64::new(0), most: most as u64 }
    }

    /// Counts one more, if there may be one more.
    pub(crate) fn add(&self) -> bool {
        let add = |count: u64| (count < self.most).then_some(count + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).is_ok()
    }

    /// One has come back.
    pub(crate) fn remove(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_time_to_stop_is_bounded_both_ways() {
        let grace = |limit| ExecutionLimit::new(limit).grace;
        assert_eq!([grace(MS), grace(700 * MS), grace(60_000 * MS)], [100 * MS, 700 * MS, 5000 * MS]);
    }

    #[test]
    fn trials_of_a_model_that_fails_come_ever_more_rarely() {
        let (mut ward, now) = (Ward::default(), Instant::now());
        // Half of each is left to chance.
        let assert_within = |ward: &Ward, most: Duration| {
            let pause = ward.next.unwrap() - now;
            assert!(pause >= most.mul_f64(0.499) && pause <= most.mul_f64(1.001), "{pause:?} of {most:?}");
        };
        for doublings in 0..12 {
            ward.failed(now);
            assert_within(&ward, (MS * 100 * (1 << doublings)).min(MS * 60_000));
        }
        ward.answered(now, Some(5 * MS));
        assert_eq!(ward.next, Some(now + 5 * MS));
        ward.failed(now);
        assert_within(&ward, 100 * MS);
        ward.answered(now, None);
        assert_eq!(ward.next, None);
    }

    #[test]
    fn stuck_threads_are_bounded() {
        let stuck = StuckThreads::new(2);
        assert!(stuck.add() && stuck.add() && !stuck.add());
        stuck.remove();
        assert!(stuck.add() && !stuck.add());
        assert!(!StuckThreads::new(0).add());
    }
}
