use std::io::Write;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::{ExportError, LogRow, LogSink, MAX_LISTED_ELEMENTS};
use crate::tensor_json::exported;

/// Records of a row group, and bytes of their text, after which the next one begins.
const GROUP_RECORDS: usize = 10_000;
const GROUP_BYTES: usize = 16 << 20;

const SCHEMA: &str = "message inference_log {
    REQUIRED INT64 at (TIMESTAMP(MICROS, true));
    REQUIRED BYTE_ARRAY request_id (STRING);
    REQUIRED BYTE_ARRAY client_id (STRING);
    REQUIRED INT64 answer;
    REQUIRED BYTE_ARRAY model (STRING);
    OPTIONAL INT64 version;
    REQUIRED BYTE_ARRAY outcome (STRING);
    OPTIONAL BYTE_ARRAY message (STRING);
    REQUIRED INT64 latency_us;
    REQUIRED INT64 compute_us;
    REQUIRED BYTE_ARRAY inputs (STRING);
    REQUIRED BYTE_ARRAY outputs (STRING);
}";

/// Writes a Parquet file, compressed with Snappy. A row group is held in memory at a time.
pub struct Parquet<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<LogRow>,
    bytes: usize,
}

impl<W: Write + Send> Parquet<W> {
    /// Writes to `out`.
    ///
    /// # Errors
    /// [`ExportError::Parquet`] where the beginning cannot be written.
    pub fn new(out: W) -> Result<Self, ExportError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Self { file, rows: Vec::new(), bytes: 0 })
    }

    fn write_group(&mut self) -> Result<(), ExportError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        let rows = &rows[..];
        numbers(&mut group, rows, |row| row.at_us)?;
        texts(&mut group, rows, |row| row.request_id.as_str().into())?;
        texts(&mut group, rows, |row| row.client_id.as_str().into())?;
        numbers(&mut group, rows, |row| row.answer)?;
        texts(&mut group, rows, |row| row.model.as_str().into())?;
        column::<Int64Type, _>(&mut group, rows, |row| row.version)?;
        texts(&mut group, rows, |row| row.outcome.as_str().into())?;
        column::<ByteArrayType, _>(&mut group, rows, |row| row.message.as_deref().map(ByteArray::from))?;
        numbers(&mut group, rows, |row| row.latency_us)?;
        numbers(&mut group, rows, |row| row.compute_us)?;
        texts(&mut group, rows, |row| exported(&row.inputs, MAX_LISTED_ELEMENTS).into_bytes().into())?;
        texts(&mut group, rows, |row| exported(&row.outputs, MAX_LISTED_ELEMENTS).into_bytes().into())?;
        group.close()?;
        Ok(())
    }
}

impl<W: Write + Send> LogSink for Parquet<W> {
    fn write(&mut self, rows: Vec<LogRow>) -> Result<(), ExportError> {
        self.bytes += rows.iter().map(|row| row.inputs.len() + row.outputs.len()).sum::<usize>();
        self.rows.extend(rows);
        if self.rows.len() >= GROUP_RECORDS || self.bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        self.write_group()?;
        self.file.finish()?;
        Ok(self.file.inner_mut().flush()?)
    }
}

fn numbers<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[LogRow],
    read: impl Fn(&LogRow) -> i64,
) -> Result<(), ExportError> {
    let values: Vec<i64> = rows.iter().map(read).collect();
    write::<Int64Type, _>(group, &values, None)
}

fn texts<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[LogRow],
    read: impl Fn(&LogRow) -> ByteArray,
) -> Result<(), ExportError> {
    let values: Vec<ByteArray> = rows.iter().map(read).collect();
    write::<ByteArrayType, _>(group, &values, None)
}

/// A column in which values may be missing.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[LogRow],
    read: impl Fn(&LogRow) -> Option<T::T>,
) -> Result<(), ExportError> {
    let values: Vec<Option<T::T>> = rows.iter().map(read).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    write::<T, _>(group, &values, Some(&levels))
}

fn write<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ExportError> {
    let no_column = || ParquetError::General("the schema has fewer columns than are written".to_owned());
    let mut column = group.next_column()?.ok_or_else(no_column)?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()?;
    Ok(())
}
