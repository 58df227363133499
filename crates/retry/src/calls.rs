use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Admission, Again, Breaker, BreakerOptions, BreakerState, Outcome, Retries};

/// What an error says of whoever was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it answered, and the call is at fault, or it was not asked.
    None,
    /// It is not well, and asking again within the same call makes no sense.
    Down,
    /// It is not well, or was not for a moment: the call may be made again.
    Passing,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError<E> {
    /// It was not made: whoever is to be asked is known to be down.
    Open,
    /// It failed, with the error of the last attempt.
    Failed(E),
}

/// What has become of calls so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallCounts {
    /// Attempts after the first.
    pub retries: u64,
    /// Calls that were not made, since the breaker was open.
    pub refused: u64,
    /// Times that the breaker opened.
    pub openings: u64,
}

/// The calls of something that may be down, where nobody probes it but those who need it: a breaker, and within it retries.
///
/// While the breaker is open, calls fail at once; whoever comes first when its delay is over is the probe.
#[derive(Debug)]
pub struct Calls {
    retries: Retries,
    breaker: Mutex<Breaker>,
    retried: AtomicU64,
    refused: AtomicU64,
    openings: AtomicU64,
}

impl Calls {
    /// Of something that is taken to be well.
    #[must_use]
    pub fn new(retries: Retries, breaker: BreakerOptions) -> Self {
        Self {
            retries,
            breaker: Mutex::new(Breaker::new(breaker)),
            retried: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            openings: AtomicU64::new(0),
        }
    }

    /// Makes a call, with retries that begin before `until`. `fault` says what an error means; all attempts of a call count once.
    ///
    /// Dropping the future cancels the call, which then says nothing, unless it was a probe: that has failed.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<T, E, F>(
        &self,
        until: Instant,
        mut attempt: impl FnMut() -> F,
        fault: impl Fn(&E) -> Fault,
    ) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let Some(pass) = self.enter() else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(CallError::Open);
        };
        let mut is_retry = false;
        let attempt = || {
            self.retried.fetch_add(u64::from(is_retry), Ordering::Relaxed);
            is_retry = true;
            attempt()
        };
        let again = |error: &E| if fault(error) == Fault::Passing { Again::Yes } else { Again::No };
        let answer = self.retries.clone().until(until).run(attempt, again).await;
        let is_well = answer.as_ref().err().is_none_or(|error| fault(error) == Fault::None);
        pass.end(if is_well { Outcome::Success } else { Outcome::Failure });
        answer.map_err(CallError::Failed)
    }

    /// It is known from elsewhere that it is well: calls are made again.
    pub fn heal(&self) {
        self.breaker.lock().heal();
    }

    /// Whether calls are made.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.breaker.lock().state()
    }

    /// What has become of calls so far.
    #[must_use]
    pub fn counts(&self) -> CallCounts {
        CallCounts {
            retries: self.retried.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            openings: self.openings.load(Ordering::Relaxed),
        }
    }

    fn enter(&self) -> Option<Pass<'_>> {
        let mut breaker = self.breaker.lock();
        let admission = breaker.admit();
        if admission.is_none() && !breaker.begin_probe(now()) {
            return None;
        }
        Some(Pass { calls: self, admission, is_over: false })
    }
}

/// Leave to make one call.
struct Pass<'a> {
    calls: &'a Calls,
    /// `None` for a probe.
    admission: Option<Admission>,
    is_over: bool,
}

impl Pass<'_> {
    fn end(mut self, outcome: Outcome) {
        self.is_over = true;
        let mut breaker = self.calls.breaker.lock();
        match self.admission {
            Some(admission) => {
                let opened = breaker.record(admission, outcome, now());
                self.calls.openings.fetch_add(u64::from(opened), Ordering::Relaxed);
            }
            None => drop(breaker.end_probe(outcome, now())),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.admission.is_none() && !self.is_over {
            // Else there would never be another one.
            self.calls.breaker.lock().end_probe(Outcome::Failure, now());
        }
    }
}

/// Now, as the runtime's timers see it: under a test's stopped clock it stands still too.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::BackoffOptions;

    const DELAY: Duration = Duration::from_millis(100);

    struct Bench {
        calls: Calls,
        /// Attempts that fail before one works.
        fails: Cell<u32>,
        asked: Cell<u32>,
    }

    impl Bench {
        fn new(retries: u32) -> Self {
            let retries =
                Retries::new(BackoffOptions { min_delay: DELAY, max_delay: DELAY }).at_most(retries);
            let breaker = BreakerOptions {
                consecutive_failures: 2,
                min_delay: DELAY * 10,
                max_delay: DELAY * 20,
                ..BreakerOptions::default()
            };
            Self { calls: Calls::new(retries, breaker), fails: Cell::new(0), asked: Cell::new(0) }
        }

        async fn call(&self, fault: Fault) -> Result<(), CallError<()>> {
            let attempt = || {
                self.asked.set(self.asked.get() + 1);
                let fails = self.fails.get();
                self.fails.set(fails.saturating_sub(1));
                std::future::ready(if fails > 0 { Err(()) } else { Ok(()) })
            };
            self.calls.call(Instant::now() + Duration::from_secs(60), attempt, |()| fault).await
        }
    }

    const FAILED: Result<(), CallError<()>> = Err(CallError::Failed(()));

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_counts_once() {
        let bench = Bench::new(2);
        bench.fails.set(2);
        assert_eq!(bench.call(Fault::Passing).await, Ok(()));
        assert_eq!(bench.asked.get(), 3);
        bench.fails.set(3);
        assert_eq!(bench.call(Fault::Passing).await, FAILED);
        assert_eq!(bench.calls.state(), BreakerState::Closed, "one call of three attempts has failed");
        assert_eq!(bench.calls.counts(), CallCounts { retries: 4, refused: 0, openings: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_down_is_left_alone_until_the_first_who_comes_later() {
        let bench = Bench::new(2);
        bench.fails.set(4);
        for _ in 0..2 {
            assert_eq!(bench.call(Fault::Down).await, FAILED);
        }
        for _ in 0..10 {
            assert_eq!(bench.call(Fault::Down).await, Err(CallError::Open));
        }
        assert_eq!(bench.asked.get(), 2, "neither again within a call nor while the breaker is open");
        tokio::time::advance(DELAY * 10).await;
        assert_eq!(bench.call(Fault::Down).await, FAILED, "a probe");
        assert_eq!(bench.call(Fault::Down).await, Err(CallError::Open));
        tokio::time::advance(DELAY * 20).await;
        bench.fails.set(0);
        assert_eq!(bench.call(Fault::Down).await, Ok(()));
        assert_eq!(bench.calls.state(), BreakerState::Closed);
        assert_eq!(bench.calls.counts(), CallCounts { retries: 0, refused: 11, openings: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_at_fault_themselves_open_nothing() {
        let bench = Bench::new(2);
        bench.fails.set(20);
        for _ in 0..20 {
            assert_eq!(bench.call(Fault::None).await, FAILED);
        }
        assert_eq!((bench.asked.get(), bench.calls.state()), (20, BreakerState::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_dropped_makes_way_for_another() {
        let bench = Bench::new(0);
        bench.fails.set(2);
        for _ in 0..2 {
            assert_eq!(bench.call(Fault::Down).await, FAILED);
        }
        tokio::time::advance(DELAY * 10).await;
        let until = Instant::now() + DELAY;
        let hangs = bench.calls.call(until, std::future::pending::<Result<(), ()>>, |()| Fault::Down);
        assert!(tokio::time::timeout(DELAY, hangs).await.is_err());
        assert_eq!(bench.call(Fault::Down).await, Err(CallError::Open));
        tokio::time::advance(DELAY * 20).await;
        assert_eq!(bench.call(Fault::Down).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_may_be_known_from_elsewhere_that_all_is_well() {
        let bench = Bench::new(0);
        bench.fails.set(2);
        for _ in 0..2 {
            assert_eq!(bench.call(Fault::Down).await, FAILED);
        }
        assert_eq!(bench.call(Fault::Down).await, Err(CallError::Open));
        bench.calls.heal();
        assert_eq!(bench.call(Fault::Down).await, Ok(()));
    }
}
