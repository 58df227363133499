//! `adulis log`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};

use super::{ServeArgs, parse_setting};

const EXAMPLES: &str = "\
Examples:
  adulis log export                           everything, as JSON Lines on the standard output
  adulis log export --model digits --since 24h -o digits.jsonl
  adulis log export --since 2026-11-01 --until 2026-12-01 --format parquet -o november.parquet
  adulis log export --set store.url=postgres://adulis@db/adulis | head

Where the log lies is a matter of configuration: store.url, as `adulis serve` reads it.";

/// `adulis log`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct LogArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// What to do with the inference log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Write requests and answers that were logged to a file
    Export(Box<ExportArgs>),
}

/// `adulis log export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    /// Of this model only
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// From this moment on: a date, a date and time (UTC), or how long ago, as 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<SystemTime>,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<SystemTime>,
    /// Format of the file
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: ExportFormat,
    /// The file, which appears when it is complete [default: the standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Configuration file [default: adulis.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "ADULIS_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Any setting by its key; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<(String, String)>,
}

/// Formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line
    Jsonl,
    /// Apache Parquet
    Parquet,
}

impl ExportArgs {
    /// The command line of a server with the same configuration.
    #[must_use]
    pub fn serve(&self) -> ServeArgs {
        ServeArgs { config: self.config.clone(), set: self.set.clone(), ..ServeArgs::default() }
    }
}

fn parse_moment(text: &str) -> Result<SystemTime, String> {
    parse_time(text, |ago| SystemTime::now().checked_sub(ago))
        .ok_or_else(|| "expected a time such as 2026-11-26, 2026-11-26T09:30:00Z or 24h".to_owned())
}

/// A date, a date and time (UTC), or a duration, of which `moment` says which moment it means.
pub(super) fn parse_time(
    text: &str,
    moment: impl FnOnce(Duration) -> Option<SystemTime>,
) -> Option<SystemTime> {
    humantime::parse_duration(text)
        .ok()
        .and_then(moment)
        .or_else(|| humantime::parse_rfc3339_weak(text).ok())
        .or_else(|| humantime::parse_rfc3339_weak(&format!("{text}T00:00:00")).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let day = parse_moment("2026-11-26").unwrap();
        assert_eq!(day, parse_moment("2026-11-26T00:00:00Z").unwrap());
        assert_eq!(parse_moment("2026-11-26 01:00:00").unwrap(), day + Duration::from_secs(3600));
        let ago = SystemTime::now().duration_since(parse_moment("1h 30m").unwrap()).unwrap();
        assert!((5399..5460).contains(&ago.as_secs()), "{ago:?}");
        for text in ["", "yesterday", "2026-13-01", "99999999999999y"] {
            assert!(parse_moment(text).is_err(), "{text}");
        }
    }
}
