use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adulis_telemetry::{InferenceLogMetrics, MetricRegistry};
use adulis_types::{Dependency, InferenceService};
use tokio::runtime::{Handle, Runtime};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::lookup::Lookups;
use crate::migrate::Tables;
use crate::queue::Queue;
use crate::retention::{self, Retention};
use crate::service::{Log, Recording};
use crate::writer::Writer;
use crate::{ApiKeys, Database, DatabaseMetrics, LogPolicies, PoolOptions, StoreError, StoreUrl, Usage};

/// How often it is looked whether a database that is of no use works again.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the inference log is shortened.
const RETENTION_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// What is left to a thread that was told to end at once.
const GRACE: Duration = Duration::from_secs(1);

/// What a store is to keep, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreOptions {
    /// The database.
    pub url: StoreUrl,
    /// Its connections.
    pub pool: PoolOptions,
    /// How often usage is written; `None` where it is not counted.
    pub usage_interval: Option<Duration>,
    /// The inference log; `None` where nothing is logged.
    pub log: Option<LogOptions>,
    /// Whether models may have inputs looked up in the database.
    pub lookup: bool,
}

/// The inference log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogOptions {
    /// What is logged.
    pub policies: LogPolicies,
    /// Records that may wait to be written.
    pub queue_records: usize,
    /// Bytes of tensors that these may hold.
    pub queue_bytes: usize,
    /// Records that are written together.
    pub batch_records: usize,
    /// How long a record waits for more to be written with.
    pub flush_interval: Duration,
    /// How long it is kept.
    pub retention: Retention,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            policies: LogPolicies::default(),
            queue_records: 8192,
            queue_bytes: 64 << 20,
            batch_records: 256,
            flush_interval: Duration::from_secs(1),
            retention: Retention::default(),
        }
    }
}

/// What is needed of the log outside of the thread.
struct LogParts {
    policies: Arc<LogPolicies>,
    queue: Queue,
    retention: Retention,
    metrics: InferenceLogMetrics,
}

/// The store: a database, and a thread that keeps it. Whatever becomes of the database, requests are answered.
pub struct Store {
    database: Arc<Database>,
    usage: Option<Arc<Usage>>,
    log: Option<LogParts>,
    /// The thread's runtime.
    runtime: Handle,
    /// Whether models look inputs up.
    lookup: bool,
    /// Asks the thread to write what there is and end.
    stop: CancellationToken,
    /// Asks it to end at once.
    abort: CancellationToken,
    /// Told by the thread when it has ended.
    ended: CancellationToken,
}

impl Store {
    /// Opens a store, whether its database can be reached or not, and starts its thread.
    ///
    /// # Errors
    /// [`StoreError::Thread`], and [`StoreError::Database`] for a URL that the driver does not take.
    pub fn open(
        options: StoreOptions,
        registry: &MetricRegistry,
        metrics: &DatabaseMetrics,
    ) -> Result<Arc<Self>, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StoreError::Thread)?;
        let database = {
            // The pool looks after its connections in a task of this thread.
            let _entered = runtime.enter();
            Database::open(&options.url, Tables::Made, &options.pool, metrics)?
        };
        let usage = options.usage_interval.map(|_| Arc::new(Usage::new(Arc::clone(&database))));
        let keeper = Keeper {
            database: Arc::clone(&database),
            usage: usage.clone().zip(options.usage_interval),
            retention: None,
            stop: CancellationToken::new(),
        };
        let (keeper, log, writer) = match options.log {
            Some(log) => keeper.with_log(log, InferenceLogMetrics::register(registry)),
            None => (keeper, None, None),
        };
        let store = Self {
            database,
            usage,
            log,
            runtime: runtime.handle().clone(),
            lookup: options.lookup,
            stop: keeper.stop.clone(),
            abort: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let (abort, ended) = (store.abort.clone(), store.ended.clone());
        thread::Builder::new()
            .name("adulis-store".to_owned())
            .spawn(move || keep(&runtime, &keeper, writer, &abort, ended))
            .map_err(StoreError::Thread)?;
        tracing::info!(url = %options.url, "the store is opened");
        Ok(Arc::new(store))
    }

    /// A service that answers as `inner` does, with what passes noted in the store.
    #[must_use]
    pub fn wrap(&self, inner: Arc<dyn InferenceService>) -> Arc<dyn InferenceService> {
        if self.usage.is_none() && self.log.is_none() {
            return inner;
        }
        let log = self
            .log
            .as_ref()
            .map(|log| Log { policies: Arc::clone(&log.policies), queue: log.queue.clone() });
        Arc::new(Recording::new(inner, self.usage.clone(), log))
    }

    /// Where its options let models look up inputs: in its database's tables, or nowhere. What they wrap should have the store
    /// within, so that what is noted has the features in it.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        if self.lookup {
            return Lookups::in_tables(Arc::clone(&self.database), self.runtime.clone());
        }
        Lookups::default()
    }

    /// Where the store works: what a request waits for is spawned there, so that a request that goes away breaks no connection.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// API keys.
    #[must_use]
    pub fn keys(&self) -> ApiKeys {
        ApiKeys::new(Arc::clone(&self.database))
    }

    /// Usage, where it is counted.
    #[must_use]
    pub fn usage(&self) -> Option<&Arc<Usage>> {
        self.usage.as_ref()
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Deletes what retention does not keep of the inference log, as is done every ten minutes, and returns how much that was.
    ///
    /// # Errors
    /// [`StoreError`]. What was deleted until then is.
    pub async fn shorten_log(&self) -> Result<u64, StoreError> {
        match &self.log {
            Some(log) => retention::enforce(&self.database, log.retention, &log.metrics).await,
            None => Ok(0),
        }
    }

    /// Writes what there is, and ends the thread; what is not written within `limit` is dropped and counted. Later requests
    /// are not logged.
    pub async fn close(&self, limit: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(limit, self.ended.cancelled()).await.is_err() {
            tracing::warn!(?limit, "the store could not write everything in time");
            self.abort.cancel();
            let _ = tokio::time::timeout(GRACE, self.ended.cancelled()).await;
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Drop for Store {
    /// The thread writes what there is, and nobody waits for it.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Dependency for Store {
    fn name(&self) -> &'static str {
        "store"
    }

    fn problem(&self) -> Option<Cow<'static, str>> {
        self.database.problem()
    }
}

/// What the thread does beside writing the log.
struct Keeper {
    database: Arc<Database>,
    usage: Option<(Arc<Usage>, Duration)>,
    retention: Option<(Retention, InferenceLogMetrics)>,
    stop: CancellationToken,
}

type WithLog = (Keeper, Option<LogParts>, Option<Writer>);

impl Keeper {
    fn with_log(mut self, log: LogOptions, metrics: InferenceLogMetrics) -> WithLog {
        let (queue, receiver) = Queue::new(log.queue_records, log.queue_bytes, metrics.clone());
        self.retention = Some((log.retention, metrics.clone()));
        let writer = Writer {
            database: Arc::clone(&self.database),
            receiver,
            batch_records: log.batch_records.max(1),
            flush_interval: log.flush_interval,
            metrics: metrics.clone(),
        };
        let policies = Arc::new(log.policies);
        let parts = LogParts { policies, queue, retention: log.retention, metrics };
        (self, Some(parts), Some(writer))
    }

    /// Looks after usage, retention and the database's health until it is told to stop.
    async fn run(&self) {
        let first = |period| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let usage_interval = self.usage.as_ref().map_or(RETENTION_INTERVAL, |(_, interval)| *interval);
        let (mut usage, mut retention, mut probe) =
            (first(usage_interval), first(RETENTION_INTERVAL), first(PROBE_INTERVAL));
        // Makes the tables, and says at once whether there is anybody.
        drop(self.database.ping().await);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                _ = usage.tick() => self.write_usage().await,
                _ = retention.tick() => self.shorten().await,
                _ = probe.tick(), if self.database.problem().is_some() => drop(self.database.ping().await),
            }
        }
        self.write_usage().await;
    }

    /// The database says by itself what went wrong.
    async fn write_usage(&self) {
        if let Some((usage, _)) = &self.usage {
            drop(usage.flush().await);
        }
    }

    async fn shorten(&self) {
        let Some((retention, metrics)) = &self.retention else {
            return;
        };
        match retention::enforce(&self.database, *retention, metrics).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "the inference log is shortened"),
            Err(error) => tracing::warn!(error = %error.detail(), "the inference log could not be shortened"),
        }
    }
}

/// The thread.
fn keep(
    runtime: &Runtime,
    keeper: &Keeper,
    mut writer: Option<Writer>,
    abort: &CancellationToken,
    ended: CancellationToken,
) {
    let _ended = ended.drop_guard();
    runtime.block_on(async {
        let work = async {
            let writing = async {
                if let Some(writer) = &mut writer {
                    writer.run(&keeper.stop).await;
                }
            };
            tokio::join!(writing, keeper.run());
            keeper.database.close().await;
        };
        tokio::select! {
            () = work => {}
            () = abort.cancelled() => {}
        }
    });
    if let Some(writer) = &mut writer {
        writer.give_up();
    }
}
