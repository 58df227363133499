use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adulis_types::Name;
use parking_lot::RwLock;
use sqlx::{AssertSqlSafe, Row};

use crate::sql::{clean, rows_of_placeholders};
use crate::time::{day_of, now_us};
use crate::{Database, StoreError};

/// Counters at a time. Names come from models that exist and keys that are valid: nobody fills this by asking for nonsense.
const MAX_COUNTERS: usize = 100_000;
/// Rows of one statement.
const CHUNK: usize = 200;
const COLUMNS: usize = 7;

/// What was used, by API key and model. It is counted in memory, and added to the database's sums every so often; several
/// replicas add to the same sums. What a replica has counted since is lost when it is killed; what could not be written is
/// written later. If a connection breaks in the very moment of a commit, what was being written may be counted twice.
#[derive(Debug)]
pub struct Usage {
    database: Arc<Database>,
    /// By model, then by key.
    counters: RwLock<HashMap<Name, HashMap<Name, Arc<UsageCounter>>>>,
}

/// What one key has used of one model since it was written last. Additions are relaxed and take no lock.
#[derive(Debug, Default)]
pub struct UsageCounter {
    requests: AtomicU64,
    failures: AtomicU64,
    rows: AtomicU64,
    compute_ns: AtomicU64,
}

/// Sums of usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// Requests, those that failed included.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Rows of requests that were answered.
    pub rows: u64,
    /// Time that the engine ran for them, batches counted in full for each of their requests.
    pub compute: Duration,
}

/// What one key used of one model on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyUsage {
    /// The key's id; empty for requests without one.
    pub key_id: String,
    /// The model.
    pub model: String,
    /// The day, counted from 1970-01-01 in UTC.
    pub day: i64,
    /// How much.
    pub sums: UsageSums,
}

impl UsageCounter {
    /// Adds what was used.
    pub fn add(&self, used: UsageSums) {
        let compute_ns = u64::try_from(used.compute.as_nanos()).unwrap_or(u64::MAX);
        for (counter, value) in [
            (&self.requests, used.requests),
            (&self.failures, used.failures),
            (&self.rows, used.rows),
            (&self.compute_ns, compute_ns),
        ] {
            if value > 0 {
                counter.fetch_add(value, Ordering::Relaxed);
            }
        }
    }

    fn take(&self) -> UsageSums {
        UsageSums {
            requests: self.requests.swap(0, Ordering::Relaxed),
            failures: self.failures.swap(0, Ordering::Relaxed),
            rows: self.rows.swap(0, Ordering::Relaxed),
            compute: Duration::from_nanos(self.compute_ns.swap(0, Ordering::Relaxed)),
        }
    }
}

/// What is about to be written, and where it came from.
struct Taken {
    model: Name,
    key: Name,
    counter: Arc<UsageCounter>,
    sums: UsageSums,
}

impl Usage {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, counters: RwLock::default() }
    }

    /// The counter of a key, empty for none, and a model. `None` where there are too many.
    #[must_use]
    pub fn counter(&self, key: &str, model: &str) -> Option<Arc<UsageCounter>> {
        if let Some(counter) = self.counters.read().get(model).and_then(|keys| keys.get(key)) {
            return Some(Arc::clone(counter));
        }
        let mut counters = self.counters.write();
        if counters.values().map(HashMap::len).sum::<usize>() >= MAX_COUNTERS {
            return None;
        }
        let keys = counters.entry(model.into()).or_default();
        Some(Arc::clone(keys.entry(key.into()).or_default()))
    }

    /// Adds what was counted since to the database's sums, and returns how many of these it changed.
    ///
    /// # Errors
    /// [`StoreError`]: then it is kept for the next time. Dropping the future loses it.
    pub async fn flush(&self) -> Result<usize, StoreError> {
        let mut taken = self.take();
        // Replicas that write the same sums at once do so in the same order: neither waits for the other in a circle.
        taken.sort_by(|a, b| (&a.key, &a.model).cmp(&(&b.key, &b.model)));
        if taken.is_empty() {
            return Ok(0);
        }
        let day = day_of(now_us());
        let written = self.database.attempt("usage", self.write(&taken, day)).await;
        if written.is_err() {
            for Taken { counter, sums, .. } in &taken {
                counter.add(*sums);
            }
        }
        written.map(|()| taken.len())
    }

    /// What was used since a day, by key, model and day; the first 100,000.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn since(&self, day: i64) -> Result<Vec<DailyUsage>, StoreError> {
        let select = "SELECT key_id, model, day, requests, failures, row_count, compute_ns FROM adulis_usage
                      WHERE day >= $1 ORDER BY key_id, model, day LIMIT 100000";
        let rows = self
            .database
            .attempt("usage", async {
                let mut connection = self.database.connect().await?;
                let rows = sqlx::query(select).bind(day).fetch_all(&mut *connection).await?;
                connection.done();
                Ok(rows)
            })
            .await?;
        let count = |row: &sqlx::any::AnyRow, name| {
            row.try_get::<i64, _>(name).map(|count| u64::try_from(count).unwrap_or(0))
        };
        let read = |row: &sqlx::any::AnyRow| {
            Ok(DailyUsage {
                key_id: row.try_get("key_id")?,
                model: row.try_get("model")?,
                day: row.try_get("day")?,
                sums: UsageSums {
                    requests: count(row, "requests")?,
                    failures: count(row, "failures")?,
                    rows: count(row, "row_count")?,
                    compute: Duration::from_nanos(count(row, "compute_ns")?),
                },
            })
        };
        rows.iter().map(read).collect()
    }

    /// Takes everything that was counted, and forgets counters that nobody holds and nothing was added to.
    fn take(&self) -> Vec<Taken> {
        let mut taken = Vec::new();
        let mut counters = self.counters.write();
        for (model, keys) in counters.iter_mut() {
            keys.retain(|key, counter| {
                let sums = counter.take();
                if sums != UsageSums::default() {
                    let (model, key, counter) = (model.clone(), key.clone(), Arc::clone(counter));
                    taken.push(Taken { model, key, counter, sums });
                    return true;
                }
                Arc::strong_count(counter) > 1
            });
        }
        counters.retain(|_, keys| !keys.is_empty());
        taken
    }

    async fn write(&self, taken: &[Taken], day: i64) -> Result<(), StoreError> {
        let mut connection = self.database.connect().await?;
        let mut transaction = connection.begin().await?;
        for rows in taken.chunks(CHUNK) {
            let statement = upsert(rows.len());
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for Taken { model, key, sums, .. } in rows {
                query = query.bind(clean(key)).bind(clean(model)).bind(day);
                let compute_ns = u64::try_from(sums.compute.as_nanos()).unwrap_or(u64::MAX);
                for count in [sums.requests, sums.failures, sums.rows, compute_ns] {
                    query = query.bind(i64::try_from(count).unwrap_or(i64::MAX));
                }
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        connection.done();
        Ok(())
    }
}

fn upsert(rows: usize) -> String {
    format!(
        "INSERT INTO adulis_usage (key_id, model, day, requests, failures, row_count, compute_ns) VALUES {}
         ON CONFLICT (key_id, model, day) DO UPDATE SET
            requests = adulis_usage.requests + excluded.requests,
            failures = adulis_usage.failures + excluded.failures,
            row_count = adulis_usage.row_count + excluded.row_count,
            compute_ns = adulis_usage.compute_ns + excluded.compute_ns",
        rows_of_placeholders(rows, COLUMNS)
    )
}
