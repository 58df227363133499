use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{ExportError, LogRow, LogSink, MAX_LISTED_ELEMENTS};
use crate::tensor_json::exported;

/// Writes one JSON object a line.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, which had better be buffered.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    at_us: i64,
    request_id: &'a str,
    client_id: &'a str,
    answer: i64,
    model: &'a str,
    version: Option<i64>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    latency_us: i64,
    compute_us: i64,
    inputs: Box<RawValue>,
    outputs: Box<RawValue>,
}

impl<W: Write> LogSink for JsonLines<W> {
    fn write(&mut self, rows: Vec<LogRow>) -> Result<(), ExportError> {
        for row in &rows {
            let line = Line {
                at_us: row.at_us,
                request_id: &row.request_id,
                client_id: &row.client_id,
                answer: row.answer,
                model: &row.model,
                version: row.version,
                outcome: &row.outcome,
                message: row.message.as_deref(),
                latency_us: row.latency_us,
                compute_us: row.compute_us,
                inputs: column(&row.inputs),
                outputs: column(&row.outputs),
            };
            serde_json::to_writer(&mut self.out, &line).map_err(std::io::Error::from)?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        Ok(self.out.flush()?)
    }
}

/// Tensors as JSON; what is no JSON, because somebody else wrote it, as text.
fn column(text: &str) -> Box<RawValue> {
    let raw = RawValue::from_string(exported(text, MAX_LISTED_ELEMENTS));
    raw.or_else(|_| serde_json::value::to_raw_value(text))
        .expect("invariant: text is always JSON")
}
