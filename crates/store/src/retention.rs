use std::time::Duration;

use adulis_telemetry::InferenceLogMetrics;
use sqlx::Row;

use crate::time::{now_us, whole_us};
use crate::{Database, DatabaseKind, StoreError};

/// Rows of one statement: others get their turn in between.
const STEP: i64 = 1000;

/// How long the inference log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The age at which records are deleted; `None` for none.
    pub max_age: Option<Duration>,
    /// How many records are kept, the newest, one at least; `None` for any number.
    pub max_records: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            max_records: Some(1_000_000),
        }
    }
}

/// Deletes what is too old and what is too many, in small steps, and returns how much that was. Several replicas may do so at
/// once.
pub(crate) async fn enforce(
    database: &Database,
    retention: Retention,
    metrics: &InferenceLogMetrics,
) -> Result<u64, StoreError> {
    let mut deleted = 0;
    if let Some(age) = retention.max_age {
        let limit = now_us().saturating_sub(whole_us(age));
        deleted += delete_before(database, (limit, i64::MIN), metrics).await?;
    }
    if let Some(records) = retention.max_records
        && let Some(oldest) = oldest_to_keep(database, records).await?
    {
        deleted += delete_before(database, oldest, metrics).await?;
    }
    if deleted > 0 && database.kind() == DatabaseKind::Sqlite {
        // PostgreSQL does so by itself.
        give_space_back(database).await?;
    }
    Ok(deleted)
}

/// Time and id of the oldest record that is kept; `None` where all are.
async fn oldest_to_keep(database: &Database, records: u64) -> Result<Option<(i64, i64)>, StoreError> {
    let select = "SELECT at_us, id FROM adulis_inference_log ORDER BY at_us DESC, id DESC LIMIT 2 OFFSET $1";
    // The last that is kept, and one before it, which says that there is something to delete.
    let offset = i64::try_from(records).unwrap_or(i64::MAX).saturating_sub(1).max(0);
    let rows = database
        .attempt("retention", async {
            let mut connection = database.connect().await?;
            let rows = sqlx::query(select).bind(offset).fetch_all(&mut *connection).await?;
            connection.done();
            Ok(rows)
        })
        .await?;
    match &rows[..] {
        [oldest, _] => Ok(Some((oldest.try_get(0)?, oldest.try_get(1)?))),
        _ => Ok(None),
    }
}

async fn delete_before(
    database: &Database,
    (at_us, id): (i64, i64),
    metrics: &InferenceLogMetrics,
) -> Result<u64, StoreError> {
    let delete = "DELETE FROM adulis_inference_log WHERE id IN (
        SELECT id FROM adulis_inference_log WHERE at_us < $1 OR (at_us = $1 AND id < $2) ORDER BY at_us, id LIMIT $3)";
    let mut total = 0;
    loop {
        let deleted = database
            .attempt("retention", async {
                let mut connection = database.connect().await?;
                let query = sqlx::query(delete).bind(at_us).bind(id).bind(STEP);
                let deleted = query.execute(&mut *connection).await?.rows_affected();
                connection.done();
                Ok(deleted)
            })
            .await?;
        metrics.expired.inc_by(deleted);
        total += deleted;
        if deleted < STEP.unsigned_abs() {
            return Ok(total);
        }
    }
}

async fn give_space_back(database: &Database) -> Result<(), StoreError> {
    database
        .attempt("retention", async {
            let mut connection = database.connect().await?;
            sqlx::raw_sql("PRAGMA incremental_vacuum(10000)").execute(&mut *connection).await?;
            connection.done();
            Ok(())
        })
        .await
}
