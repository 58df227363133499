//! The inference log, out of the database and into files.

mod json_lines;
mod parquet;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

pub use self::json_lines::JsonLines;
pub use self::parquet::Parquet;
use crate::{Database, StoreError};

/// Records that are read at a time. What they hold is bounded by the payload limits they were written with.
const PAGE: i64 = 200;
/// Elements of a tensor that is written as a list of numbers or texts; longer ones stay in base64.
pub(crate) const MAX_LISTED_ELEMENTS: usize = 1024;

/// Which records are exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Of this model only.
    pub model: Option<String>,
    /// From this moment on, in microseconds since 1970.
    pub since_us: Option<i64>,
    /// Before this moment.
    pub until_us: Option<i64>,
}

/// A record as it is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    pub(crate) id: i64,
    pub(crate) at_us: i64,
    pub(crate) request_id: String,
    pub(crate) client_id: String,
    pub(crate) answer: i64,
    pub(crate) model: String,
    pub(crate) version: Option<i64>,
    pub(crate) outcome: String,
    pub(crate) message: Option<String>,
    pub(crate) latency_us: i64,
    pub(crate) compute_us: i64,
    pub(crate) inputs: String,
    pub(crate) outputs: String,
}

/// Where records are exported to.
pub trait LogSink {
    /// Takes the next records.
    ///
    /// # Errors
    /// They cannot be written.
    fn write(&mut self, rows: Vec<LogRow>) -> Result<(), ExportError>;

    /// Writes what is still to be written.
    ///
    /// # Errors
    /// It cannot be written.
    fn finish(&mut self) -> Result<(), ExportError>;
}

/// Why the log could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("the export cannot be written")]
    Write(#[from] std::io::Error),
    /// The file cannot be written as Parquet.
    #[error("the export cannot be written as Parquet")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// Exports records by time, page by page: a page is held at a time, and no transaction is kept open in between. `progress` is
/// told after each page how many records there were. Returns how many there were in all.
///
/// Records that are written meanwhile may be among them or not.
///
/// # Errors
/// [`ExportError`]. What was written until then is there.
pub async fn export_log(
    database: &Database,
    filter: &LogFilter,
    sink: &mut dyn LogSink,
    mut progress: impl FnMut(u64),
) -> Result<u64, ExportError> {
    let (mut from, mut total) = ((filter.since_us.unwrap_or(i64::MIN), i64::MIN), 0);
    loop {
        let rows = page(database, filter, from).await?;
        let Some(last) = rows.last() else {
            sink.finish()?;
            return Ok(total);
        };
        from = (last.at_us, last.id.saturating_add(1));
        total += rows.len() as u64;
        sink.write(rows)?;
        progress(total);
    }
}

/// The next records from a moment, and among those of the same moment from an id on.
async fn page(
    database: &Database,
    filter: &LogFilter,
    (at_us, id): (i64, i64),
) -> Result<Vec<LogRow>, StoreError> {
    let of_model = if filter.model.is_some() { "AND model = $5" } else { "" };
    let select = format!(
        "SELECT id, at_us, request_id, client_id, answer, model, version, outcome, message, latency_us, compute_us,
                inputs, outputs
         FROM adulis_inference_log
         WHERE at_us >= $1 AND (at_us > $1 OR id >= $2) AND at_us < $3 {of_model}
         ORDER BY at_us, id LIMIT $4"
    );
    let rows = database
        .attempt("export", async {
            let mut connection = database.connect().await?;
            let query = sqlx::query(AssertSqlSafe(select)).bind(at_us).bind(id);
            let query = query.bind(filter.until_us.unwrap_or(i64::MAX)).bind(PAGE);
            let query = match &filter.model {
                Some(model) => query.bind(model.clone()),
                None => query,
            };
            let rows = query.fetch_all(&mut *connection).await?;
            connection.done();
            Ok(rows)
        })
        .await?;
    rows.iter().map(|row| read(row).map_err(StoreError::from)).collect()
}

fn read(row: &AnyRow) -> Result<LogRow, sqlx::Error> {
    Ok(LogRow {
        id: row.try_get(0)?,
        at_us: row.try_get(1)?,
        request_id: row.try_get(2)?,
        client_id: row.try_get(3)?,
        answer: row.try_get(4)?,
        model: row.try_get(5)?,
        version: row.try_get(6)?,
        outcome: row.try_get(7)?,
        message: row.try_get(8)?,
        latency_us: row.try_get(9)?,
        compute_us: row.try_get(10)?,
        inputs: row.try_get(11)?,
        outputs: row.try_get(12)?,
    })
}
