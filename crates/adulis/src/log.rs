//! `adulis log`: the inference log, out of the database.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adulis_store::{
    Database, DatabaseMetrics, ExportError, JsonLines, LogFilter, LogSink, Parquet, PoolOptions, Tables,
    export_log,
};
use adulis_telemetry::MetricRegistry;
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{ExportArgs, ExportFormat};
use crate::config::Config;

/// Between two signs of life at a terminal.
const TICK: Duration = Duration::from_millis(100);

/// Exports the log that a configuration names, and returns how many records that were. Progress is shown at a terminal.
///
/// # Errors
/// There is no log, it cannot be read, or the file cannot be written: then there is none.
pub async fn export(args: &ExportArgs, config: &Config) -> anyhow::Result<u64> {
    let url = config.store.place();
    if let Some(path) = url.path().filter(|path| !path.exists()) {
        bail!("there is no store at {}: set store.url to where it is", path.display());
    }
    if args.output.is_none() && args.format == ExportFormat::Parquet && io::stdout().is_terminal() {
        bail!("Parquet is no text for a terminal: name a file with --output");
    }
    let metrics = DatabaseMetrics::register(&MetricRegistry::default());
    let pool = PoolOptions { max_connections: 1, ..config.store.pool.clone() };
    let database = Database::open(&url, Tables::Expected, &pool, &metrics)?;
    let filter = LogFilter {
        model: args.model.clone(),
        since_us: args.since.map(microseconds),
        until_us: args.until.map(microseconds),
    };
    let output = Output::create(args.output.as_deref())?;
    let mut sink = output.sink(args.format)?;
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template("{spinner} {pos} records ({elapsed})")?);
    progress.enable_steady_tick(TICK);
    let exported = export_log(&database, &filter, &mut *sink, |records| progress.set_position(records)).await;
    progress.finish_and_clear();
    drop(sink);
    let records = match exported {
        // Whoever reads the standard output has enough, as `head` does.
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => progress.position(),
        exported => exported.with_context(|| format!("cannot export the inference log of {url}"))?,
    };
    database.close().await;
    output.complete()?;
    Ok(records)
}

/// Where it goes: a file that takes its name when it is complete, or the standard output.
struct Output {
    file: Option<(PathBuf, PathBuf, File)>,
}

impl Output {
    fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { file: None });
        };
        let mut name = path.file_name().context("the output is no file's name")?.to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let file = File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
        Ok(Self { file: Some((path.to_owned(), part, file)) })
    }

    fn sink(&self, format: ExportFormat) -> anyhow::Result<Box<dyn LogSink>> {
        let out: Box<dyn Write + Send> = match &self.file {
            Some((_, _, file)) => Box::new(BufWriter::new(file.try_clone()?)),
            None => Box::new(BufWriter::new(io::stdout())),
        };
        Ok(match format {
            ExportFormat::Jsonl => Box::new(JsonLines::new(out)),
            ExportFormat::Parquet => Box::new(Parquet::new(out)?),
        })
    }

    fn complete(mut self) -> anyhow::Result<()> {
        if let Some((path, part, file)) = self.file.take() {
            file.sync_all()?;
            std::fs::rename(&part, &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Output {
    /// What is not complete is of no use.
    fn drop(&mut self) {
        if let Some((_, part, _)) = &self.file {
            let _ = std::fs::remove_file(part);
        }
    }
}

fn microseconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
