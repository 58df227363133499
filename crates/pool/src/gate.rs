use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_retry::{Breaker, BreakerState, Outcome, RetryBudget};
use adulis_telemetry::{PoolHandles, PoolOperation};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{now, since};
use crate::{BackendStatus, Health, PoolError, PoolOptions};

/// What an operation is called in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Set,
    SetIfAbsent,
    Delete,
    DeleteIfEquals,
    HashGet,
    Script,
}

impl Operation {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Get, "get"),
        (Self::Set, "set"),
        (Self::SetIfAbsent, "set_if_absent"),
        (Self::Delete, "delete"),
        (Self::DeleteIfEquals, "delete_if_equals"),
        (Self::HashGet, "hash_get"),
        (Self::Script, "script"),
    ];
}

/// What every operation on one backend passes: the breaker, the deadline, the metrics, the status.
#[derive(Debug)]
pub(crate) struct Gate {
    backend: Arc<str>,
    timeout: Duration,
    breaker: Mutex<Breaker>,
    retries: RetryBudget,
    status: Mutex<BackendStatus>,
    metrics: PoolHandles,
    operations: [PoolOperation; Operation::ALL.len()],
    /// Wakes the keeper when the breaker opens.
    opened: Notify,
    /// When an operation last succeeded.
    succeeded: Mutex<Option<Instant>>,
}

impl Gate {
    pub(crate) fn new(backend: Arc<str>, options: &PoolOptions, metrics: PoolHandles) -> Self {
        Self {
            timeout: options.timeout,
            breaker: Mutex::new(Breaker::new(options.breaker.clone())),
            retries: RetryBudget::default(),
            status: Mutex::new(BackendStatus::new(Arc::clone(&backend))),
            operations: Operation::ALL.map(|(_, name)| metrics.operation(name)),
            opened: Notify::new(),
            succeeded: Mutex::new(None),
            metrics,
            backend,
        }
    }

    /// Does an operation, unless the breaker is open, and within the pool's timeout. `work` is told when that ends.
    ///
    /// Dropping the future cancels the operation; it then says nothing of the backend's health.
    pub(crate) async fn run<T, F>(
        &self,
        operation: Operation,
        work: impl FnOnce(Instant) -> F,
    ) -> Result<T, PoolError>
    where
        F: Future<Output = Result<T, PoolError>>,
    {
        let whole = |instant| async move { work(instant).await.map(|value| (value, None)) };
        self.run_partly(operation, whole).await
    }

    /// The same for work that can succeed in part: what kept it from the rest counts against the backend.
    pub(crate) async fn run_partly<T, F>(
        &self,
        operation: Operation,
        work: impl FnOnce(Instant) -> F,
    ) -> Result<T, PoolError>
    where
        F: Future<Output = Result<(T, Option<PoolError>), PoolError>>,
    {
        let Some(admission) = self.breaker.lock().admit() else {
            self.metrics.refused.inc();
            return Err(PoolError::Open { backend: Arc::clone(&self.backend) });
        };
        self.retries.deposit();
        let begun = now();
        let until = begun + self.timeout;
        let result = match tokio::time::timeout_at(until.into(), work(until)).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out()),
        };
        let fault = match &result {
            Ok((_, fault)) => fault.as_ref(),
            Err(error) => Some(error),
        };
        self.account(operation, begun, fault);
        let now = now();
        let outcome = match fault {
            Some(error) if error.is_failure() => Some(Outcome::Failure),
            // It was not asked, or says nothing of the backend.
            Some(PoolError::Busy { .. } | PoolError::TooLarge { .. }) => None,
            _ => Some(Outcome::Success),
        };
        if let Some(outcome) = outcome {
            let opened = self.breaker.lock().record(admission, outcome, now);
            self.note(outcome, opened, fault);
        }
        result.map(|(value, _)| value)
    }

    /// Whether what failed because its connection broke may be done once more, on another one. A backend that breaks the
    /// connections of all is not asked twice as often for it.
    pub(crate) fn may_retry(&self) -> bool {
        let may = self.retries.withdraw();
        if may {
            self.metrics.retries.inc();
        }
        may
    }

    fn account(&self, operation: Operation, begun: Instant, fault: Option<&PoolError>) {
        let index = Operation::ALL.iter().position(|(known, _)| *known == operation).unwrap_or_default();
        let PoolOperation { latency, errors } = &self.operations[index];
        latency.observe(since(begun));
        match fault {
            None => return,
            Some(PoolError::Timeout { .. }) => drop(self.metrics.operation_timeouts.inc()),
            Some(PoolError::Busy { .. }) => drop(self.metrics.acquire_timeouts.inc()),
            Some(_) => {}
        }
        errors.inc();
    }

    /// Takes note of what the keeper found out by asking. While the breaker is closed, a failure opens it: nobody was
    /// waiting, and the keeper was patient.
    pub(crate) fn checked(&self, result: &Result<(), PoolError>) {
        let now = now();
        let mut breaker = self.breaker.lock();
        let is_probe = breaker.state() == BreakerState::HalfOpen;
        let (outcome, fault) = match result {
            Ok(()) => (Outcome::Success, None),
            Err(error) => (Outcome::Failure, Some(error)),
        };
        if is_probe {
            breaker.end_probe(outcome, now);
        }
        let opened = !is_probe && outcome == Outcome::Failure && breaker.trip(now);
        drop(breaker);
        self.note(outcome, opened, fault);
    }

    fn note(&self, outcome: Outcome, opened: bool, fault: Option<&PoolError>) {
        if outcome == Outcome::Success {
            *self.succeeded.lock() = Some(now());
        }
        if opened {
            self.metrics.openings.inc();
        }
        let is_down = self.breaker.lock().state() != BreakerState::Closed;
        let mut status = self.status.lock();
        if let Some(fault) = fault {
            status.last_error = Some(fault.to_string());
        }
        let health = match outcome {
            _ if is_down => Health::Down,
            Outcome::Success => Health::Up,
            Outcome::Failure => status.health,
        };
        let changed = status.set(health);
        drop(status);
        match (changed, health) {
            (true, Health::Down) => {
                let reason = fault.map(ToString::to_string).unwrap_or_default();
                tracing::warn!(backend = &*self.backend, reason, "a backend is down: it is left out");
            }
            (true, Health::Up) => tracing::info!(backend = &*self.backend, "a backend is up"),
            _ => {}
        }
        if opened {
            self.opened.notify_one();
        }
    }

    /// Begins a probe if one is due.
    pub(crate) fn begin_probe(&self) -> bool {
        self.breaker.lock().begin_probe(now())
    }

    /// When the next probe is due; `None` while the breaker is closed.
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.breaker.lock().next_probe()
    }

    /// Ends when the breaker opens.
    pub(crate) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// When an operation last succeeded.
    pub(crate) fn last_success(&self) -> Option<Instant> {
        *self.succeeded.lock()
    }

    /// How long an operation may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn backend(&self) -> &Arc<str> {
        &self.backend
    }

    pub(crate) fn metrics(&self) -> &PoolHandles {
        &self.metrics
    }

    pub(crate) fn status(&self) -> BackendStatus {
        self.status.lock().clone()
    }

    /// As [`BreakerState::number`] has it.
    pub(crate) fn breaker_state(&self) -> u8 {
        self.breaker.lock().state().number()
    }

    pub(crate) fn timed_out(&self) -> PoolError {
        PoolError::Timeout { backend: Arc::clone(&self.backend), limit: self.timeout }
    }
}

#[cfg(test)]
mod tests;
