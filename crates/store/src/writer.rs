use std::mem;
use std::sync::Arc;
use std::time::Duration;

use adulis_retry::{Again, BackoffOptions, Retries};
use adulis_telemetry::InferenceLogMetrics;
use sqlx::AssertSqlSafe;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::queue::Queued;
use crate::record::Record;
use crate::sql::{clean, rows_of_placeholders};
use crate::tensor_json::to_column;
use crate::time::{since_epoch_us, whole_us};
use crate::{Database, StoreError};

/// Rows of one statement.
const CHUNK: usize = 50;
const COLUMNS: usize = 12;
/// Bytes of tensors of one batch, so that its text is of a bounded size.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Longest text of an error, and longest name, that is kept.
const MAX_TEXT_BYTES: usize = 1024;
/// Between attempts while the database is of no use.
const PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(100), max_delay: Duration::from_secs(5) };

/// Writes records in batches, one after the other. While the database is of no use it keeps the batch that it has, and the
/// queue behind it fills and overflows.
pub(crate) struct Writer {
    pub(crate) database: Arc<Database>,
    pub(crate) receiver: Receiver<Queued>,
    /// Records of one batch.
    pub(crate) batch_records: usize,
    /// How long the first record of a batch waits for more.
    pub(crate) flush_interval: Duration,
    pub(crate) metrics: InferenceLogMetrics,
}

/// A record as it lies in the database.
#[derive(Clone)]
struct Row {
    at_us: i64,
    request_id: String,
    client_id: String,
    answer: i64,
    model: String,
    version: Option<i64>,
    outcome: &'static str,
    message: Option<String>,
    latency_us: i64,
    compute_us: i64,
    inputs: String,
    outputs: String,
}

impl Writer {
    /// Writes until it is told to stop and all that has come until then is written. Dropping the future loses the batch that
    /// it has.
    pub(crate) async fn run(&mut self, stop: &CancellationToken) {
        loop {
            let batch = self.gather(stop).await;
            if batch.is_empty() {
                return;
            }
            self.write(batch).await;
        }
    }

    /// Counts what is left as dropped.
    pub(crate) fn give_up(&mut self) {
        self.receiver.close();
        while let Ok(queued) = self.receiver.try_recv() {
            drop(queued);
            self.metrics.dropped("shutdown").inc();
        }
    }

    /// The next batch; empty where there is none and none to come.
    async fn gather(&mut self, stop: &CancellationToken) -> Vec<Queued> {
        let mut batch = Vec::new();
        let (mut bytes, mut deadline) = (0, None);
        while batch.len() < self.batch_records && bytes < MAX_BATCH_BYTES {
            let timer = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now));
            let received = tokio::select! {
                biased;
                received = self.receiver.recv() => received,
                () = stop.cancelled(), if !self.receiver.is_closed() => {
                    // What has come is still to be had.
                    self.receiver.close();
                    continue;
                }
                () = timer, if deadline.is_some() => break,
            };
            let Some(queued) = received else { break };
            deadline.get_or_insert_with(|| Instant::now() + self.flush_interval);
            bytes += queued.record.bytes();
            batch.push(queued);
        }
        batch
    }

    async fn write(&self, batch: Vec<Queued>) {
        let rows: Vec<Row> = batch.iter().map(|queued| Row::from(&queued.record)).collect();
        // The tensors are text now.
        drop(batch);
        let mut unwritten = Unwritten { rows: rows.len(), metrics: &self.metrics };
        // For as long as the database is of no use: what is to be written stays here.
        let again = |error: &StoreError| if error.is_refusal() { Again::No } else { Again::Yes };
        match Retries::new(PAUSES).run(|| self.flush(&rows), again).await {
            Ok(()) => unwritten.written(rows.len()),
            Err(_) => self.write_one_by_one(&rows, &mut unwritten).await,
        }
    }

    async fn flush(&self, rows: &[Row]) -> Result<(), StoreError> {
        let begun = Instant::now();
        let written = self.insert(rows).await;
        self.metrics.flush.observe(begun.elapsed());
        written
    }

    /// So that a record that the database refuses takes no other with it.
    async fn write_one_by_one(&self, rows: &[Row], unwritten: &mut Unwritten<'_>) {
        for row in rows {
            match self.insert(std::slice::from_ref(row)).await {
                Ok(()) => unwritten.written(1),
                Err(error) => {
                    let (request, error) = (&row.request_id, error.detail());
                    tracing::warn!(%request, %error, "a record of the inference log could not be written");
                    unwritten.rows -= 1;
                    self.metrics.dropped("refused").inc();
                }
            }
        }
    }

    /// All of the rows, or none.
    async fn insert(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.database
            .attempt("inference_log", async {
                let mut connection = self.database.connect().await?;
                let mut transaction = connection.begin().await?;
                for rows in rows.chunks(CHUNK) {
                    let mut query = sqlx::query(AssertSqlSafe(insert_statement(rows.len())));
                    for row in rows.iter().cloned() {
                        query = query
                            .bind(row.at_us)
                            .bind(row.request_id)
                            .bind(row.client_id)
                            .bind(row.answer)
                            .bind(row.model)
                            .bind(row.version)
                            .bind(row.outcome.to_owned())
                            .bind(row.message)
                            .bind(row.latency_us)
                            .bind(row.compute_us)
                            .bind(row.inputs)
                            .bind(row.outputs);
                    }
                    query.execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
                connection.done();
                Ok(())
            })
            .await
    }
}

/// Rows whose fate is not decided; counts them as dropped where nobody waits for it any more.
struct Unwritten<'a> {
    rows: usize,
    metrics: &'a InferenceLogMetrics,
}

impl Unwritten<'_> {
    fn written(&mut self, rows: usize) {
        self.rows -= rows;
        self.metrics.written.inc_by(rows as u64);
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        let rows = mem::take(&mut self.rows);
        if rows > 0 {
            self.metrics.dropped("shutdown").inc_by(rows as u64);
        }
    }
}

fn insert_statement(rows: usize) -> String {
    format!(
        "INSERT INTO adulis_inference_log (at_us, request_id, client_id, answer, model, version, outcome, message, \
         latency_us, compute_us, inputs, outputs) VALUES {}",
        rows_of_placeholders(rows, COLUMNS)
    )
}

impl From<&Record> for Row {
    fn from(record: &Record) -> Self {
        Self {
            at_us: since_epoch_us(record.at),
            request_id: record.request_id.to_string(),
            client_id: bounded(&record.client_id),
            answer: i64::from(record.answer),
            model: bounded(&record.model),
            version: record.version.map(|version| i64::try_from(version).unwrap_or(i64::MAX)),
            outcome: record.outcome,
            message: record.message.as_deref().map(bounded),
            latency_us: whole_us(record.latency),
            compute_us: whole_us(record.compute),
            inputs: to_column(&record.inputs),
            outputs: to_column(&record.outputs),
        }
    }
}

/// The beginning of a text, as databases take it.
fn bounded(text: &str) -> String {
    clean(&text[..text.floor_char_boundary(MAX_TEXT_BYTES)])
}
