use std::sync::Arc;
use std::time::Duration;

use adulis_telemetry::{PoolGauges, PoolMetrics};
use async_memcached::{Client, Error, ErrorKind, Status};
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolConfig, PoolError as DeadpoolError, QueueMode, RecycleError,
    RecycleResult, TimeoutType, Timeouts,
};

use super::job::{Ask, Job};
use crate::clock::{now, since};
use crate::gate::Gate;
use crate::keeper::Kept;
use crate::{PoolError, PoolOptions};

/// One server: its connections, each of which serves one operation at a time, behind a breaker of its own.
pub(super) struct Node {
    pub(super) gate: Gate,
    pool: Pool<Dial>,
    options: PoolOptions,
}

struct Dial {
    server: String,
    lifetime: Duration,
    check_after: Duration,
}

impl Manager for Dial {
    type Type = Client;
    type Error = Error;

    async fn create(&self) -> Result<Client, Error> {
        Client::new(&self.server).await
    }

    async fn recycle(&self, client: &mut Client, metrics: &Metrics) -> RecycleResult<Error> {
        // An operation that was cancelled has closed it: what it would read next is not its own.
        if client.is_closed() {
            return Err(RecycleError::message("closed"));
        }
        if metrics.age() >= self.lifetime {
            return Err(RecycleError::message("old"));
        }
        if metrics.last_used() >= self.check_after {
            client.version().await?;
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn new(
        backend: &str,
        server: &str,
        options: &PoolOptions,
        metrics: &PoolMetrics,
    ) -> Result<Arc<Self>, PoolError> {
        let dial = Dial {
            server: format!("tcp://{server}"),
            lifetime: options.lifetime,
            check_after: options.check_after,
        };
        let mut config = PoolConfig::new(options.max_connections);
        // The one that was used last is the one that lives, and the others may go.
        config.queue_mode = QueueMode::Lifo;
        config.timeouts = Timeouts {
            wait: Some(options.acquire_timeout),
            create: Some(options.connect_timeout),
            recycle: Some(options.timeout),
        };
        let pool = Pool::builder(dial).config(config).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|error| PoolError::Setting(error.to_string()))?;
        let name = format!("{backend} {server}");
        Ok(Arc::new_cyclic(|weak: &std::sync::Weak<Self>| {
            let observed = weak.clone();
            let observe = move || observed.upgrade().map(|node| node.gauges()).unwrap_or_default();
            let handles = metrics.pool(&name, observe);
            Self {
                gate: Gate::new(name.as_str().into(), options, handles),
                pool,
                options: options.clone(),
            }
        }))
    }

    fn gauges(&self) -> PoolGauges {
        let status = self.pool.status();
        PoolGauges {
            in_use: status.size.saturating_sub(status.available),
            idle: status.available,
            waiting: status.waiting,
            max: status.max_size,
            breaker: Some(self.gate.breaker_state()),
        }
    }

    async fn client(&self) -> Result<Object<Dial>, PoolError> {
        let begun = now();
        let client = self.pool.get().await.map_err(|error| self.acquire_error(error))?;
        self.gate.metrics().wait.observe(since(begun));
        if Object::metrics(&client).recycled.is_none() {
            self.gate.metrics().connections.inc();
        }
        Ok(client)
    }

    fn acquire_error(&self, error: DeadpoolError<Error>) -> PoolError {
        let backend = Arc::clone(self.gate.backend());
        let options = &self.options;
        match error {
            DeadpoolError::Timeout(TimeoutType::Wait) => {
                PoolError::Busy { backend, limit: options.acquire_timeout }
            }
            DeadpoolError::Timeout(_) => PoolError::Connect {
                backend,
                reason: format!("no connection within {:?}", options.connect_timeout),
            },
            error => PoolError::Connect { backend, reason: error.to_string() },
        }
    }

    /// Does a job on a connection. If that turns out to be broken, because the server was restarted, on a new one: once, within
    /// the budget, and without a pause, since it is the connection that is at fault.
    pub(super) async fn perform<J: Job>(&self, job: J) -> Result<J::Answer, PoolError> {
        let mut is_again = false;
        loop {
            let mut client = self.client().await?;
            match job.run(&mut client).await.map_err(|error| self.error(&error)) {
                Err(PoolError::Broken { .. }) if !is_again && self.gate.may_retry() => {
                    drop(client);
                    self.reset();
                    is_again = true;
                }
                result => return result,
            }
        }
    }

    /// What an error of the client means for the pool.
    pub(super) fn error(&self, error: &Error) -> PoolError {
        let (backend, reason) = (Arc::clone(self.gate.backend()), error.to_string());
        match error {
            Error::Protocol(Status::Error(ErrorKind::Protocol(_))) => PoolError::Broken { backend, reason },
            Error::Protocol(_) => PoolError::Answer { backend, reason },
            _ => PoolError::Broken { backend, reason },
        }
    }
}

impl Kept for Node {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn check_interval(&self) -> Duration {
        self.options.check_interval
    }

    async fn check(&self) -> Result<(), PoolError> {
        let patience = self.options.connect_timeout + self.options.timeout;
        let asked = self.perform(Ask);
        let answer = tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| {
            Err(PoolError::Timeout { backend: Arc::clone(self.gate.backend()), limit: patience })
        });
        match answer {
            // Whoever keeps all of them busy finds out whether it answers.
            Err(PoolError::Busy { .. }) => Ok(()),
            answer => answer,
        }
    }

    fn reset(&self) {
        drop(self.pool.retain(|_, _| false));
    }

    async fn upkeep(&self) {
        let options = &self.options;
        let mut excess = self.pool.status().size.saturating_sub(options.min_connections);
        let _closed = self.pool.retain(|_, metrics| {
            let goes = excess > 0 && metrics.last_used() >= options.idle_timeout;
            excess -= usize::from(goes);
            !goes && metrics.age() < options.lifetime
        });
        // All that are idle are held, so that the next one is new.
        let mut held = Vec::new();
        while self.pool.status().size < options.min_connections.min(options.max_connections) {
            match self.client().await {
                Ok(client) => held.push(client),
                // What does not connect is told by the next check.
                Err(_) => return,
            }
        }
    }
}
