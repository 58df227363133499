use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Rounds of the measurement, and how long both threads are left to fall asleep before each.
const ROUNDS: usize = 15;
const REST: Duration = Duration::from_micros(150);

/// What is believed of a measurement: a machine that was busy at that moment must not have I/O threads run models for long.
const LEAST: Duration = Duration::from_micros(10);
const MOST: Duration = Duration::from_micros(100);

/// About what a place in a queue costs a request by itself: a run shorter than this gains nothing from sharing it.
const QUEUEING: Duration = Duration::from_micros(3);

/// What a run must be shorter than, to be done on the thread where its request arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InlineLimits {
    /// While other requests for the model are about: then those that wait are better off in one batch, unless it saves less
    /// than waiting costs.
    pub(crate) busy: Duration,
    /// While nobody else asks for the model: then a hand-over to an execution thread and back would be waited for in vain.
    pub(crate) alone: Duration,
}

impl InlineLimits {
    /// The limits under a threshold that was configured, or that of a measured hand-over.
    pub(crate) fn new(threshold: Option<Duration>) -> Self {
        let alone = threshold.unwrap_or_else(measured);
        Self { busy: alone.min(QUEUEING), alone }
    }
}

/// How long it takes to hand something to a sleeping thread and to be woken by its answer: the median of a few rounds.
///
/// Takes about 4 ms. [`LEAST`] where no thread can be started.
fn measured() -> Duration {
    let table = Arc::new(Table::default());
    let other = Arc::clone(&table);
    let other = thread::Builder::new().name("adulis-handover".to_owned()).spawn(move || {
        (0..ROUNDS).for_each(|_| other.answer());
    });
    let Ok(other) = other else {
        return LEAST;
    };
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            thread::sleep(REST);
            let started = Instant::now();
            table.ask();
            started.elapsed()
        })
        .collect();
    // It does nothing that could panic, and its result is nothing.
    let _ = other.join();
    times.sort_unstable();
    let median = times[times.len() / 2];
    tracing::debug!(microseconds = median.as_micros(), "a hand-over to another thread and back");
    median.clamp(LEAST, MOST)
}

/// What two threads pass to and fro. A condition variable as the executor's, which does not spin as channels do.
#[derive(Default)]
struct Table {
    asked: Mutex<bool>,
    turned: Condvar,
}

impl Table {
    fn ask(&self) {
        let mut asked = self.asked.lock();
        *asked = true;
        self.turned.notify_one();
        self.turned.wait_while(&mut asked, |asked| *asked);
    }

    fn answer(&self) {
        let mut asked = self.asked.lock();
        self.turned.wait_while(&mut asked, |asked| !*asked);
        *asked = false;
        self.turned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_threshold_is_within_its_bounds() {
        let limits = InlineLimits::new(None);
        assert!((LEAST..=MOST).contains(&limits.alone), "{limits:?}");
        assert_eq!(limits.busy, QUEUEING);
    }

    #[test]
    fn a_configured_threshold_holds_for_both() {
        let limits = InlineLimits::new(Some(Duration::ZERO));
        assert_eq!((limits.busy, limits.alone), (Duration::ZERO, Duration::ZERO));
        let limits = InlineLimits::new(Some(Duration::from_micros(40)));
        assert_eq!((limits.busy, limits.alone), (QUEUEING, Duration::from_micros(40)));
    }
}
