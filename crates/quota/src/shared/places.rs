//! The places that this replica has in Redis, and the task that renews them and gives them back.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adulis_pool::{PoolError, RedisPool, RedisScript};
use adulis_telemetry::causes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::leases::{LeaseBook, LeaseId, Notice};

/// How often it is looked for places to be renewed, in a lease: each is tried some times before it ends.
const LOOKS: u32 = 6;

/// Keys that Redis is told of at a time.
const CALLS: usize = 32;

const SCRIPT: &str = concat!(include_str!("places.lua"), include_str!("keep.lua"));

/// The places that this replica has among those which replicas share.
pub(crate) struct SharedPlaces {
    desk: Arc<Desk>,
    /// Begins with the first place.
    task: OnceLock<AsyncMutex<JoinHandle<()>>>,
}

struct Desk {
    book: Mutex<LeaseBook>,
    pool: RedisPool,
    script: RedisScript,
    lease: Duration,
    /// Whose places they are, told apart from those of every other replica.
    replica: u64,
    next: AtomicU64,
    /// Wakes the task when there are places to be given back.
    freed: Notify,
    /// Tells the task to end when it has given back what is to be given back.
    closing: Notify,
    errors: Counter,
}

impl SharedPlaces {
    /// Of so long leases. Counts calls that failed.
    pub(crate) fn new(pool: RedisPool, lease: Duration, errors: Counter) -> Self {
        let desk = Desk {
            book: Mutex::new(LeaseBook::new(lease)),
            pool,
            script: RedisScript::new(SCRIPT),
            lease,
            replica: RandomState::new().hash_one(std::process::id()),
            next: AtomicU64::new(0),
            freed: Notify::new(),
            closing: Notify::new(),
            errors,
        };
        Self { desk: Arc::new(desk), task: OnceLock::new() }
    }

    /// A place that is going to be asked for, under the key of such places. Must be called within a tokio runtime.
    pub(crate) fn take(&self, key: &Arc<str>) -> Lease {
        self.task.get_or_init(|| {
            let desk = Arc::clone(&self.desk);
            AsyncMutex::new(tokio::spawn(async move { desk.keep().await }))
        });
        let desk = &self.desk;
        let id = LeaseId::new(desk.replica, desk.next.fetch_add(1, Ordering::Relaxed));
        let freed = desk.book.lock().take(key, id, Instant::now());
        Lease { desk: Arc::clone(desk), key: Arc::clone(key), id, freed }
    }

    /// Gives back what requests have had and Redis was not told of yet: once, and within `limit`. Places of requests that are
    /// under way still have their leases' time, and are not renewed any more.
    pub(crate) async fn close(&self, limit: Duration) {
        let Some(task) = self.task.get() else { return };
        self.desk.closing.notify_one();
        let ended = tokio::time::timeout(limit, async {
            let mut task = task.lock().await;
            if !task.is_finished() {
                let _ = (&mut *task).await;
            }
        });
        if ended.await.is_err() {
            tracing::warn!(
                "places of requests could not be given back in time: they last until their leases end"
            );
        }
    }

    /// Places that are held now.
    pub(crate) fn len(&self) -> usize {
        self.desk.book.lock().len()
    }
}

impl Drop for SharedPlaces {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.get_mut().abort();
        }
    }
}

impl Desk {
    async fn keep(&self) {
        let mut looks = tokio::time::interval((self.lease / LOOKS).max(Duration::from_millis(1)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.closing.notified() => {
                    let notices = self.book.lock().given_back(Instant::now());
                    return self.tell(notices).await;
                }
                () = self.freed.notified() => {
                    let notices = self.book.lock().freed();
                    self.tell(notices).await;
                    if self.book.lock().is_freed() {
                        self.freed.notify_one();
                    }
                }
                _ = looks.tick() => {
                    let notices = self.book.lock().due(Instant::now());
                    self.tell(notices).await;
                }
            }
        }
    }

    /// All calls are over before the next ones begin: what was renewed is given back afterwards, not before.
    async fn tell(&self, notices: Vec<Notice>) {
        let calls = futures_util::stream::iter(notices).map(|notice| self.tell_one(notice));
        calls.buffer_unordered(CALLS).for_each(|()| async {}).await;
    }

    /// What fails is tried again with the next look.
    async fn tell_one(&self, notice: Notice) {
        let then = Instant::now();
        let (lease, renewed) = (microseconds(self.lease), notice.renewed.len().to_string());
        let mut arguments = vec![lease.as_bytes(), renewed.as_bytes()];
        arguments.extend(notice.renewed.iter().chain(&notice.freed).map(LeaseId::as_bytes));
        match self.pool.run_script(&self.script, &[&*notice.key], &arguments).await {
            Ok(_) => self.book.lock().told(&notice, then),
            Err(error) => {
                tracing::debug!(error = causes(&error), "places of requests were not renewed or given back");
                self.errors.inc();
            }
        }
    }
}

/// A place of a request among those which replicas share, until it is dropped.
pub(crate) struct Lease {
    desk: Arc<Desk>,
    key: Arc<str>,
    id: LeaseId,
    /// Given back in the same step in which this one is asked for.
    freed: Vec<LeaseId>,
}

impl Lease {
    /// What a script is told of it: how long it lasts, its name, and what is given back.
    pub(crate) fn arguments<'a>(&'a self, lease: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let freed = self.freed.iter().map(LeaseId::as_bytes);
        [lease.as_bytes(), self.id.as_bytes()].into_iter().chain(freed)
    }

    pub(crate) fn lasts(&self) -> String {
        microseconds(self.desk.lease)
    }

    /// Redis has answered. The place stays where the request passed.
    pub(crate) fn settle(mut self, passed: bool) -> Option<Self> {
        let freed = std::mem::take(&mut self.freed);
        let mut book = self.desk.book.lock();
        if !passed {
            book.unknown(&self.key, self.id, false);
        }
        if !freed.is_empty() {
            let notice = Notice { key: Arc::clone(&self.key), renewed: Vec::new(), freed };
            book.told(&notice, Instant::now());
        }
        drop(book);
        passed.then_some(self)
    }

    /// Redis has not answered. The place stays with the request, and Redis is told of it when it is there again.
    pub(crate) fn unanswered(self, error: &PoolError) -> Self {
        if matches!(error, PoolError::Open { .. } | PoolError::Busy { .. }) {
            self.desk.book.lock().unknown(&self.key, self.id, true);
        }
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.desk.book.lock().free(&self.key, self.id) {
            self.desk.freed.notify_one();
        }
    }
}

fn microseconds(duration: Duration) -> String {
    duration.as_micros().to_string()
}
