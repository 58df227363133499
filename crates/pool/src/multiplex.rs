use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use adulis_telemetry::{PoolGauges, PoolHandles};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{now, since};
use crate::{PoolError, PoolOptions};

/// Operations under way on every connection, from which on another one is opened, if there may be more.
const GROW_AT: usize = 8;

/// Opens connections that can be shared.
pub(crate) trait Connector: Send + Sync + 'static {
    /// A connection; clones share it.
    type Link: Clone + Send + Sync + 'static;

    /// Opens one. May take as long as it likes; the pool gives up before.
    fn connect(&self) -> impl Future<Output = Result<Self::Link, PoolError>> + Send;

    /// Asks whether it lives.
    fn ping(&self, link: &Self::Link) -> impl Future<Output = Result<(), PoolError>> + Send;
}

/// A few connections, each of which is shared by many operations at a time.
///
/// Connections are opened by tasks of their own, one at a time: an operation that gives up does not take the connection that
/// it waited for with it.
pub(crate) struct Multiplex<C: Connector> {
    shared: Arc<Inner<C>>,
    turns: Semaphore,
    waiting: AtomicUsize,
}

struct Inner<C: Connector> {
    connector: C,
    backend: Arc<str>,
    options: PoolOptions,
    metrics: PoolHandles,
    slots: Mutex<Slots<C::Link>>,
}

struct Slots<L> {
    open: Vec<Slot<L>>,
    connecting: Option<Connecting>,
    next: u64,
}

type Connecting = Shared<BoxFuture<'static, Result<(), PoolError>>>;

struct Slot<L> {
    id: u64,
    link: L,
    born: Instant,
    /// When an operation last ended on it, or somebody asked whether it lives.
    used: Instant,
    in_flight: usize,
}

impl<C: Connector> Multiplex<C> {
    pub(crate) fn new(connector: C, backend: Arc<str>, options: PoolOptions, metrics: PoolHandles) -> Self {
        let turns = options.max_connections.saturating_mul(options.max_in_flight);
        let slots = Mutex::new(Slots { open: Vec::new(), connecting: None, next: 0 });
        Self {
            turns: Semaphore::new(turns.min(Semaphore::MAX_PERMITS)),
            shared: Arc::new(Inner { connector, backend, options, metrics, slots }),
            waiting: AtomicUsize::new(0),
        }
    }

    /// A share of the connection with the least to do, one that lives.
    pub(crate) async fn acquire(&self, until: Instant) -> Result<Lease<'_, C>, PoolError> {
        let begun = now();
        let waiting = Waiting::new(&self.waiting);
        let limit = self.shared.options.acquire_timeout;
        let Ok(Ok(turn)) =
            tokio::time::timeout_at((begun + limit).min(until).into(), self.turns.acquire()).await
        else {
            return Err(PoolError::Busy { backend: Arc::clone(&self.shared.backend), limit });
        };
        let share = self.living().await?;
        drop(waiting);
        self.shared.metrics.wait.observe(since(begun));
        Ok(Lease { share, _turn: turn })
    }

    async fn living(&self) -> Result<Share<'_, C>, PoolError> {
        loop {
            let pick = self.shared.pick();
            match pick {
                Pick::Connect(connecting) => connecting.await?,
                Pick::Use(share) => return Ok(share),
                Pick::Check(share) => match self.shared.connector.ping(&share.link).await {
                    Ok(()) => return Ok(share),
                    Err(_) => self.shared.discard(share.id),
                },
            }
        }
    }

    /// Asks the backend whether it lives, patiently: over a connection that is there, else over a new one.
    pub(crate) async fn check(&self) -> Result<(), PoolError> {
        let options = &self.shared.options;
        let patience = options.connect_timeout + options.timeout;
        let asked = tokio::time::timeout(patience, async {
            let link = self.shared.any_link();
            let (link, id) = match link {
                Some(link) => link,
                None => {
                    self.shared.connecting().await?;
                    // It may have been discarded since; then there is nothing to ask, and it did connect.
                    match self.shared.any_link() {
                        Some(link) => link,
                        None => return Ok(()),
                    }
                }
            };
            let answer = self.shared.connector.ping(&link).await;
            if answer.as_ref().is_err_and(PoolError::breaks_connection) {
                self.shared.discard(id);
                // Servers that were restarted leave such connections behind.
                self.shared.connecting().await?;
                return match self.shared.any_link() {
                    Some((link, _)) => self.shared.connector.ping(&link).await,
                    None => Ok(()),
                };
            }
            answer
        });
        asked.await.unwrap_or_else(|_| {
            Err(PoolError::Timeout { backend: Arc::clone(&self.shared.backend), limit: patience })
        })
    }

    /// Closes every connection, as soon as nobody uses it any more.
    pub(crate) fn reset(&self) {
        self.shared.slots.lock().open.clear();
    }

    /// Closes what is idle, replaces what is old, opens what is missing to the minimum.
    pub(crate) async fn upkeep(&self) {
        let options = &self.shared.options;
        let (missing, old) = {
            let mut slots = self.shared.slots.lock();
            let mut excess = slots.open.len().saturating_sub(options.min_connections);
            slots.open.retain(|slot| {
                let goes = excess > 0 && slot.in_flight == 0 && since(slot.used) >= options.idle_timeout;
                excess -= usize::from(goes);
                !goes
            });
            let old = slots.open.iter().find(|slot| since(slot.born) >= options.lifetime);
            (slots.open.len() < options.min_connections, old.map(|slot| slot.id))
        };
        // What does not connect is told by the next check.
        if (missing || old.is_some())
            && self.shared.connecting().await.is_ok()
            && let Some(old) = old
        {
            self.shared.discard(old);
        }
    }

    pub(crate) fn gauges(&self) -> PoolGauges {
        let slots = self.shared.slots.lock();
        let in_use = slots.open.iter().filter(|slot| slot.in_flight > 0).count();
        PoolGauges {
            in_use,
            idle: slots.open.len() - in_use,
            waiting: self.waiting.load(Ordering::Relaxed),
            max: self.shared.options.max_connections,
            breaker: None,
        }
    }
}

enum Pick<'a, C: Connector> {
    Use(Share<'a, C>),
    /// It has been idle for long: to be asked first, by whoever comes first.
    Check(Share<'a, C>),
    Connect(Connecting),
}

impl<C: Connector> Inner<C> {
    fn pick(self: &Arc<Self>) -> Pick<'_, C> {
        let now = now();
        let mut slots = self.slots.lock();
        let may_grow = slots.open.len() < self.options.max_connections;
        let Some(slot) = slots.open.iter_mut().min_by_key(|slot| slot.in_flight) else {
            return Pick::Connect(self.connect(&mut slots));
        };
        let is_busy = slot.in_flight >= GROW_AT;
        let is_stale =
            slot.in_flight == 0 && now.saturating_duration_since(slot.used) >= self.options.check_after;
        slot.in_flight += 1;
        slot.used = now;
        let share = Share { inner: self, link: slot.link.clone(), id: slot.id };
        if is_busy && may_grow {
            // For those that come later.
            drop(self.connect(&mut slots));
        }
        if is_stale { Pick::Check(share) } else { Pick::Use(share) }
    }

    fn any_link(&self) -> Option<(C::Link, u64)> {
        let slots = self.slots.lock();
        slots.open.iter().max_by_key(|slot| slot.used).map(|slot| (slot.link.clone(), slot.id))
    }

    /// Ends when the connection that is being opened now is there, or is not to be had.
    fn connecting(self: &Arc<Self>) -> Connecting {
        self.connect(&mut self.slots.lock())
    }

    fn connect(self: &Arc<Self>, slots: &mut Slots<C::Link>) -> Connecting {
        if let Some(connecting) = &slots.connecting {
            return connecting.clone();
        }
        let inner = Arc::clone(self);
        let task = tokio::spawn(async move { inner.open().await });
        let backend = Arc::clone(&self.backend);
        let connecting = async move {
            task.await
                .unwrap_or_else(|error| Err(PoolError::Connect { backend, reason: error.to_string() }))
        };
        let connecting = connecting.boxed().shared();
        slots.connecting = Some(connecting.clone());
        connecting
    }

    async fn open(&self) -> Result<(), PoolError> {
        let limit = self.options.connect_timeout;
        let connected = tokio::time::timeout(limit, self.connector.connect()).await.unwrap_or_else(|_| {
            let reason = format!("no connection within {limit:?}");
            Err(PoolError::Connect { backend: Arc::clone(&self.backend), reason })
        });
        let now = now();
        let mut slots = self.slots.lock();
        slots.connecting = None;
        let link = connected?;
        self.metrics.connections.inc();
        let id = slots.next;
        slots.next += 1;
        slots.open.push(Slot { id, link, born: now, used: now, in_flight: 0 });
        Ok(())
    }

    fn discard(&self, id: u64) {
        self.slots.lock().open.retain(|slot| slot.id != id);
    }
}

/// Leave to use a connection, until it is dropped.
pub(crate) struct Lease<'a, C: Connector> {
    share: Share<'a, C>,
    _turn: SemaphorePermit<'a>,
}

impl<C: Connector> Lease<'_, C> {
    pub(crate) fn link(&self) -> C::Link {
        self.share.link.clone()
    }

    /// Lets nobody use the connection again.
    pub(crate) fn discard(self) {
        self.share.inner.discard(self.share.id);
    }
}

/// A share of a connection, given back when it is dropped.
struct Share<'a, C: Connector> {
    inner: &'a Inner<C>,
    link: C::Link,
    id: u64,
}

impl<C: Connector> Drop for Share<'_, C> {
    fn drop(&mut self) {
        let mut slots = self.inner.slots.lock();
        if let Some(slot) = slots.open.iter_mut().find(|slot| slot.id == self.id) {
            slot.in_flight -= 1;
            slot.used = now();
        }
    }
}

/// Somebody who waits, as the gauge counts them.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
