use std::borrow::Cow;
use std::fs::OpenOptions;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adulis_retry::{
    BackoffOptions, BreakerOptions, CallCounts, CallError, Calls, Fault, Retries, RetryBudget,
};
use adulis_telemetry::{MetricRegistry, PoolGauges, PoolHandles, PoolMetrics, StoreMetrics};
use parking_lot::Mutex;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection, Transaction};
use tokio::sync::OnceCell;

use crate::migrate::{self, Tables};
use crate::{DatabaseKind, PoolOptions, StoreError, StoreUrl};

/// What the pool is called in metrics.
const POOL: &str = "store";

/// The pause before what was read over a connection that broke is read over another one.
const PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(20), max_delay: Duration::from_millis(20) };

/// A database and the pool of connections to it. Opening it asks nobody: the first connection is made when something is
/// wanted, and the tables are made or brought up to date with it.
pub struct Database {
    pool: AnyPool,
    kind: DatabaseKind,
    tables: Tables,
    /// The file to make, if it is one.
    file: Option<PathBuf>,
    /// Set once the tables are what this build knows.
    migrated: OnceCell<()>,
    acquire_timeout: Duration,
    /// For a connection and an answer together.
    timeout: Duration,
    waiting: Arc<AtomicUsize>,
    /// Connections that are in use.
    leased: Arc<AtomicUsize>,
    max_connections: usize,
    /// What requests wait for.
    reads: Arc<Calls>,
    handles: PoolHandles,
    metrics: StoreMetrics,
    /// Why the last thing that was asked did not work.
    problem: Mutex<Option<String>>,
}

/// Where metrics of databases go.
#[derive(Debug, Clone)]
pub struct DatabaseMetrics {
    /// Of all pools.
    pub pools: PoolMetrics,
    /// Of the store.
    pub store: StoreMetrics,
}

impl DatabaseMetrics {
    /// Registers them, for a registry that has no pools yet.
    #[must_use]
    pub fn register(registry: &MetricRegistry) -> Self {
        Self { pools: PoolMetrics::register(registry), store: StoreMetrics::register(registry) }
    }
}

impl Database {
    /// A pool of connections to the database at `url`, none of them open yet. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Database`] where the driver does not take the URL.
    pub fn open(
        url: &StoreUrl,
        tables: Tables,
        options: &PoolOptions,
        metrics: &DatabaseMetrics,
    ) -> Result<Arc<Self>, StoreError> {
        sqlx::any::install_default_drivers();
        let kind = url.kind();
        let connect: AnyConnectOptions = url.driver_url(tables == Tables::Made).parse()?;
        let pool = AnyPoolOptions::new()
            .min_connections(options.min_connections.min(options.max_connections))
            .max_connections(options.max_connections.max(1))
            .acquire_timeout(options.acquire_timeout)
            .acquire_slow_threshold(options.acquire_timeout)
            .idle_timeout(options.idle_timeout)
            .max_lifetime(options.max_lifetime)
            .test_before_acquire(options.test_before_acquire)
            .after_connect(move |connection, _| Box::pin(prepare(connection, kind)))
            .connect_lazy_with(connect);
        let waiting = Arc::new(AtomicUsize::new(0));
        let reads = Arc::new(Calls::new(
            Retries::new(PAUSES).at_most(1).within(Arc::new(RetryBudget::default())),
            BreakerOptions::default(),
        ));
        let handles = metrics.pools.pool(POOL, observe(&pool, (&waiting, &reads), options.max_connections));
        metrics.store.up.set(1);
        Ok(Arc::new(Self {
            pool,
            kind,
            tables,
            file: url.path().filter(|_| tables == Tables::Made).map(Path::to_owned),
            migrated: OnceCell::new(),
            acquire_timeout: options.acquire_timeout,
            timeout: options.acquire_timeout + options.statement_timeout,
            waiting,
            leased: Arc::default(),
            max_connections: options.max_connections.max(1) as usize,
            reads,
            handles,
            metrics: metrics.store.clone(),
            problem: Mutex::new(None),
        }))
    }

    /// Of which kind it is.
    #[must_use]
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// Why the last thing that was asked did not work; `None` where it did.
    #[must_use]
    pub fn problem(&self) -> Option<Cow<'static, str>> {
        self.problem.lock().clone().map(Cow::Owned)
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`StoreError`] where it gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.attempt("ping", async {
            let mut connection = self.connect().await?;
            sqlx::query("SELECT 1").execute(&mut *connection).await?;
            connection.done();
            Ok(())
        })
        .await
    }

    /// Closes all connections, when those that are in use have come back.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Does something within its time, and takes note of how it ended. Dropping the future closes the connection that it has.
    pub(crate) async fn attempt<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let outcome = tokio::time::timeout(self.timeout, work).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.timed_out()));
        self.note(operation, &outcome, |_| true);
        outcome
    }

    /// Reads something that a request waits for: once more if its connection breaks, and not at all while the database is known
    /// to be down. Not every error says that it is: `is_telling`.
    ///
    /// # Errors
    /// [`StoreError::Open`] where it was not tried.
    pub(crate) async fn read<T, F>(
        &self,
        operation: &'static str,
        mut work: impl FnMut() -> F,
        is_telling: impl Fn(&StoreError) -> bool,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let until = tokio::time::Instant::now() + self.timeout;
        let attempt = || {
            let work = work();
            async move {
                let outcome = tokio::time::timeout_at(until, work).await;
                outcome.unwrap_or_else(|_| Err(self.timed_out()))
            }
        };
        let fault = |error: &StoreError| match error {
            // Those who keep all connections busy find out whether it answers.
            StoreError::NoConnection { .. } if self.is_busy() => Fault::None,
            error if error.is_refusal() || !is_telling(error) => Fault::None,
            error if error.breaks_connection() => Fault::Passing,
            _ => Fault::Down,
        };
        let outcome = match self.reads.call(until, attempt, fault).await {
            Ok(value) => Ok(value),
            Err(CallError::Failed(error)) => Err(error),
            Err(CallError::Open) => Err(StoreError::Open),
        };
        self.tell_counts();
        self.note(operation, &outcome, is_telling);
        outcome
    }

    /// Tells what has become of reads so far. Whoever comes later with an earlier count changes nothing.
    fn tell_counts(&self) {
        let CallCounts { retries, refused, openings } = self.reads.counts();
        let PoolHandles { retries: retried, refused: not_tried, openings: opened, .. } = &self.handles;
        for (counter, count) in [(retried, retries), (not_tried, refused), (opened, openings)] {
            counter.inner().fetch_max(count, Ordering::Relaxed);
        }
    }

    fn note<T>(
        &self,
        operation: &'static str,
        outcome: &Result<T, StoreError>,
        is_telling: impl Fn(&StoreError) -> bool,
    ) {
        let Err(error) = outcome else {
            return self.is_up();
        };
        self.metrics.errors(operation).inc();
        // What was not tried has told already.
        if !error.is_refusal() && !matches!(error, StoreError::Open) && is_telling(error) {
            self.is_down(error);
        }
    }

    fn timed_out(&self) -> StoreError {
        StoreError::TimedOut { waited: self.timeout }
    }

    fn is_busy(&self) -> bool {
        self.leased.load(Ordering::Relaxed) >= self.max_connections
    }

    /// A connection, with the tables there.
    pub(crate) async fn connect(&self) -> Result<Lease, StoreError> {
        if let Some(file) = self.file.as_deref().filter(|_| !self.migrated.initialized()) {
            make_private(file);
        }
        let mut connection = self.acquire().await?;
        self.migrated
            .get_or_try_init(|| migrate::migrate(&mut connection, self.kind, self.tables))
            .await?;
        Ok(connection)
    }

    async fn acquire(&self) -> Result<Lease, StoreError> {
        let _waiting = Counted::begin(&self.waiting);
        let begun = Instant::now();
        match self.pool.acquire().await {
            Ok(connection) => {
                self.handles.wait.observe(begun.elapsed());
                let leased = Counted::begin(&self.leased);
                Ok(Lease { connection: Some(connection), kind: self.kind, _leased: leased })
            }
            Err(sqlx::Error::PoolTimedOut) => {
                self.handles.acquire_timeouts.inc();
                Err(StoreError::NoConnection { waited: self.acquire_timeout })
            }
            Err(error) => Err(StoreError::connecting(error)),
        }
    }

    fn is_down(&self, error: &StoreError) {
        // Who asks whether the server is ready need not learn where the database is and who its users are.
        let before = self.problem.lock().replace(error.to_string());
        self.metrics.up.set(0);
        if before.is_none() {
            tracing::warn!(reason = %error.detail(), "the store is of no use; requests are answered without it");
        }
    }

    fn is_up(&self) {
        self.metrics.up.set(1);
        self.reads.heal();
        if self.problem.lock().take().is_some() {
            tracing::info!("the store works again");
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Makes the file and its folder, if they are not there, readable by nobody else: requests and answers will be in it. What
/// cannot be made is told when the database is opened.
fn make_private(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = OpenOptions::new();
    file.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    let made = folder.map_or(Ok(()), std::fs::create_dir_all).and_then(|()| file.open(path));
    if let Err(error) = made {
        tracing::debug!(%error, path = %path.display(), "the store's file is not made yet");
    }
}

/// What is told of the pool at each scrape.
fn observe(
    pool: &AnyPool,
    (waiting, reads): (&Arc<AtomicUsize>, &Arc<Calls>),
    max: u32,
) -> impl Fn() -> PoolGauges + Send + Sync + 'static {
    // A closed pool has no connections; it holds nothing else.
    let (pool, waiting, reads) = (pool.clone(), Arc::clone(waiting), Arc::clone(reads));
    move || {
        let open = usize::try_from(pool.size()).unwrap_or(usize::MAX);
        let idle = pool.num_idle().min(open);
        PoolGauges {
            in_use: open - idle,
            idle,
            waiting: waiting.load(Ordering::Relaxed),
            max: usize::try_from(max).unwrap_or(usize::MAX),
            breaker: Some(reads.state().number()),
        }
    }
}

/// Sets a new connection up.
async fn prepare(connection: &mut AnyConnection, kind: DatabaseKind) -> Result<(), sqlx::Error> {
    if kind == DatabaseKind::Sqlite {
        // Incremental vacuum gives the file's space back after retention; it must be set before there is a table. With the
        // write-ahead log, readers and the writer do not wait for each other, and a commit costs no sync of the disk: a
        // crash of the machine may lose the last of them, and never harms the file.
        let pragmas =
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;";
        sqlx::raw_sql(pragmas).execute(connection).await?;
    }
    Ok(())
}

/// A connection that goes back to the pool when it is done, and is closed where that is never said: because of an error, or
/// because nobody waits any more. What it was about to receive must reach nobody else.
pub(crate) struct Lease {
    connection: Option<PoolConnection<Any>>,
    kind: DatabaseKind,
    _leased: Counted,
}

impl Lease {
    /// Begins a transaction that writes.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_, Any>, StoreError> {
        Ok(match self.kind {
            // One that begins as a reader cannot become a writer while another one writes.
            DatabaseKind::Sqlite => (**self).begin_with("BEGIN IMMEDIATE").await?,
            DatabaseKind::Postgres => (**self).begin().await?,
        })
    }

    /// Gives it back.
    pub(crate) fn done(mut self) {
        drop(self.connection.take());
    }
}

impl Deref for Lease {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.connection.as_deref().expect("invariant: taken by `done` and `drop` only")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.connection.as_deref_mut().expect("invariant: taken by `done` and `drop` only")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

/// One more, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
