//! What is watched of a model: how long its runs take, and whether it answers at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
use crate::watchdog::Watchdog;

/// How long a run that was asked to stop has for it, at least and at most; between them, as long as it had to end by itself.
const GRACE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5);

/// The pauses between trials of a model that does not answer.
const PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(100), max_delay: Duration::from_secs(60) };

/// The shortest time between two trials of a model that answers but had runs that broke.
const DOUBT_EVERY: Duration = Duration::from_secs(1);

/// How a model is watched. There is none for sequences and decoupled models. Where the configuration wants nothing of it, and
/// while nothing breaks, it is nobody's work.
pub(crate) struct Watch {
    /// How long a run may take; `None`: any time.
    pub(crate) limit: Option<ExecutionLimit>,
    /// How often the model is tried while nobody asks it anything; `None`: never.
    pub(crate) self_check: Option<Duration>,
    /// Whether it answered its smallest inputs, all zeros, when it was loaded. If not, an error is an answer to them, too.
    pub(crate) proven: bool,
    health: RwLock<Health>,
    /// Whether that is good: what every request looks at.
    is_good: AtomicBool,
    /// One more than the runs that had succeeded when the latest broke, if one has since the last look.
    doubt: AtomicU64,
    watchdog: Watchdog,
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
    /// When it was tried last.
    pub(crate) tried: Option<Instant>,
    /// Whether there was no place for a trial in the queue, and nothing has succeeded since.
    refused: bool,
    pauses: Backoff,
}

impl Default for Ward {
    fn default() -> Self {
        Self {
            runs: 0,
            trial: None,
            next: None,
            tried: None,
            refused: false,
            pauses: Backoff::new(PAUSES),
        }
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
        self.refused = false;
        self.pauses.reset();
        self.next = self_check.map(|every| now + every);
    }

    /// A run broke of a model that answers as far as is known: it is tried soon.
    pub(crate) fn doubted(&mut self, now: Instant) {
        let at = self.tried.map_or(now, |tried| now.max(tried + DOUBT_EVERY));
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// There is no place for a trial in the queue: it is tried again after as long as a trial has to be answered. True if it was
    /// so that long ago already, and nothing has succeeded since: what fills the queue is not answered either.
    pub(crate) fn refused(&mut self, now: Instant, patience: Duration) -> bool {
        self.next = Some(now + patience);
        std::mem::replace(&mut self.refused, true)
    }
}

impl Watch {
    /// How the configuration wants it; `None` where nobody can watch it. `proven` says whether the model ran on zeros when it was
    /// loaded.
    pub(crate) fn new(
        config: &ModelConfig,
        settings: &Settings,
        (interface, proven): (&Interface, bool),
        watchdog: &Watchdog,
    ) -> Option<Box<Self>> {
        let set = |time: &Duration| !time.is_zero();
        let limit = config.safeguards.max_execution_time.or(settings.max_execution_time).filter(set);
        let self_check = config.safeguards.self_check_interval.filter(set);
        if config.decoupled || config.scheduling.sequence().is_some() {
            return None;
        }
        if (limit.is_some() || self_check.is_some())
            && let Err(reason) = trial(interface)
        {
            tracing::warn!(model = %interface.model, reason, "it can't be tried: no trivial inputs can be made for it");
        }
        Some(Box::new(Self {
            limit: limit.map(ExecutionLimit::new),
            self_check,
            proven,
            health: RwLock::default(),
            is_good: AtomicBool::new(true),
            doubt: AtomicU64::new(0),
            watchdog: watchdog.clone(),
            written_off: watch::Sender::default(),
            ward: Mutex::new(Ward {
                next: self_check.map(|every| Instant::now() + every),
                ..Ward::default()
            }),
        }))
    }

    /// Whether the model answers as far as is known.
    pub(crate) fn healthy(&self) -> Result<(), Unready> {
        if self.is_good.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*self.health.read() {
            Health::Good => Ok(()),
            Health::Doubtful(reason) | Health::Stuck(reason) => Err(broken(Arc::clone(reason))),
        }
    }

    /// Whether requests may be put to it.
    pub(crate) fn usable(&self) -> Result<(), Unready> {
        if self.is_good.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*self.health.read() {
            Health::Stuck(reason) => Err(broken(Arc::clone(reason))),
            Health::Good | Health::Doubtful(_) => Ok(()),
        }
    }

    /// It answers. True if it did not before.
    pub(crate) fn turn_green(&self) -> bool {
        if self.is_good.load(Ordering::Acquire) {
            return false;
        }
        *self.health.write() = Health::Good;
        !self.is_good.swap(true, Ordering::AcqRel)
    }

    /// It did not answer. True if it did before.
    pub(crate) fn turn_red(&self, reason: Arc<str>, is_stuck: bool) -> bool {
        let mut health = self.health.write();
        let was_green = self.is_good.swap(false, Ordering::AcqRel);
        if is_stuck {
            *health = Health::Stuck(reason);
        } else if !matches!(*health, Health::Stuck(_)) {
            *health = Health::Doubtful(reason);
        }
        was_green
    }

    /// A run broke, and not because of its inputs, when so many had succeeded: the watchdog is to see whether the model answers.
    /// Not where it is not known what it makes of a trial.
    pub(crate) fn doubt(&self, succeeded: u64) {
        if self.proven && self.doubt.swap(succeeded + 1, Ordering::SeqCst) == 0 {
            self.watchdog.watch();
        }
    }

    /// Whether a run has broken since the last look, and how many had succeeded then.
    pub(crate) fn take_doubt(&self) -> Option<u64> {
        if self.doubt.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.doubt.swap(0, Ordering::SeqCst).checked_sub(1)
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

/// What a model is tried with: its smallest inputs, all zeros.
///
/// # Errors
/// Why they can't be made.
pub(crate) fn trial(interface: &Interface) -> Result<JobInputs, String> {
    let inputs = warmup::trivial(interface)?;
    let admitted = interface.admit(inputs, &[]).map_err(|error| error.to_string())?;
    Ok(admitted.inputs)
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
    fn a_model_with_broken_runs_is_tried_at_once_but_not_all_the_time() {
        let (mut ward, now) = (Ward::default(), Instant::now());
        ward.doubted(now);
        assert_eq!(ward.next, Some(now));
        (ward.tried, ward.next) = (Some(now), None);
        ward.doubted(now + 10 * MS);
        assert_eq!(ward.next, Some(now + DOUBT_EVERY));
        // It is tried sooner by itself.
        ward.next = Some(now + 20 * MS);
        ward.doubted(now + 10 * MS);
        assert_eq!(ward.next, Some(now + 20 * MS));
    }

    #[test]
    fn a_trial_without_a_place_counts_where_nothing_succeeds_for_as_long_as_it_would_have_had() {
        let (mut ward, now) = (Ward::default(), Instant::now());
        assert!(!ward.refused(now, 500 * MS));
        assert_eq!(ward.next, Some(now + 500 * MS));
        assert!(ward.refused(now + 500 * MS, 500 * MS));
        ward.answered(now, None);
        assert!(!ward.refused(now, 500 * MS), "something has succeeded");
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
