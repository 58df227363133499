use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueHint};
use http::{HeaderName, HeaderValue};

use crate::api_key::ApiKeyArgs;
use crate::connect::TlsArgs;
use crate::data::{DataSource, Distinct, InputSpec, ShapeOverride};
use crate::deck::Law;
use crate::load::Sweep;
use crate::schedule::Distribution;
use crate::target::Protocol;

const EXAMPLES: &str = "\
Examples:
  adulis bench -m digits                                    one connection, REST binary, port 8000
  adulis bench -m digits --concurrency 1:256:x2 --csv -     a sweep, as CSV
  adulis bench -m digits -u grpc://127.0.0.1:8001 --concurrency 64 --streams 8
  adulis bench -m digits --rate 500,1000 --distribution poisson
  adulis bench -m digits --concurrency 1000 --idle 10000    beside many connections that do nothing
  adulis bench -m digits --rate 500:5000:x2 --deadline 100ms   answers in time, under more and more load
  adulis bench -m resnet50 --shape input:3,224,224 -b 4 --protocol rest-json
  adulis bench -m text --input-data requests.json --verify
  adulis bench -m mlp --zipf 1.1 --distinct 10000 -c 32     some requests far more often than others
  adulis bench -m mlp --concurrency 64 --compare http://127.0.0.1:9000 --raw /echo
                                                            the ratio to a bare echo of the same bytes
  adulis bench -m mlp --compare-model mlp_unbatched --concurrency 1:256:x2
                                                            the ratio of two models of one server
  adulis bench --raw /echo --input X:FP32:1,16 -u http://127.0.0.1:9000";

/// Measures throughput and latency of a model on an inference server.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
#[command(
    next_help_heading = "Target",
    group(ArgGroup::new("second").args(["compare", "compare_model"]).multiple(true))
)]
pub(crate) struct TargetArgs {
    /// The model; may be left out with --raw and --input
    #[arg(short, long, required_unless_present_all = ["raw", "inputs"])]
    pub(crate) model: Option<String>,

    /// The model's version; the server's default if left out
    #[arg(long)]
    pub(crate) model_version: Option<u64>,

    /// The server: http://HOST[:8000] or grpc://HOST[:8001], https:// or grpcs:// over TLS
    #[arg(short, long, value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,

    /// What to speak; rest-binary if neither this nor the URL says
    #[arg(long, value_enum)]
    pub(crate) protocol: Option<Protocol>,

    /// A second server: both are sent the same requests, in alternating windows, and the ratios are told
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) compare: Option<String>,

    /// The second side's model, where it is another one: at --compare, or at the same server without it
    #[arg(long, value_name = "MODEL", requires = "model", conflicts_with = "raw")]
    pub(crate) compare_model: Option<String>,

    /// Post the same bodies to this fixed path, answers having no meaning; to the second server if there is one
    #[arg(long, value_name = "PATH")]
    pub(crate) raw: Option<String>,

    /// Header or metadata of every request, such as `authorization: Bearer …`
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,

    #[command(flatten)]
    pub(crate) api_key: ApiKeyArgs,

    /// Requests without an answer after this long have failed
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

impl TargetArgs {
    /// What every request carries.
    ///
    /// # Errors
    /// The key cannot be a header's value.
    pub(crate) fn all_headers(&self) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
        Ok(self.headers.iter().cloned().chain(self.api_key.headers()?).collect())
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Closed loop: requests in flight. A list (1,8,64), ranges (1:8, 8:64:8) and powers (1:256:x2)
    #[arg(
        short,
        long,
        value_name = "SWEEP",
        conflicts_with = "rate",
        default_value = "1"
    )]
    pub(crate) concurrency: Sweep,

    /// Open loop: requests per second, a list or ranges as above; latency counts from the intended send time
    #[arg(short, long, value_name = "SWEEP")]
    pub(crate) rate: Option<Sweep>,

    /// How the gaps of an open loop are spread
    #[arg(long, value_enum, default_value = "poisson")]
    pub(crate) distribution: Distribution,

    /// Open loop: requests that may be in flight; those that find all taken are sent late, and counted so
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) connections: u32,

    /// Tell the server that an answer is of no use after this long, and count those that come in time (goodput); from the
    /// intended send time in an open loop
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration)]
    pub(crate) deadline: Option<Duration>,

    /// gRPC: requests in flight that share one HTTP/2 connection
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) streams: u32,

    /// REST: connections that are held open beside the load and do nothing but ask for health when they are opened, every
    /// half a minute, and at the end
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub(crate) idle: u32,

    /// Threads that send; half of the cores if left out
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,

    /// Seed of arrivals and generated data
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// Rows per request: what a leading -1 in the model's shapes becomes
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) batch: u32,

    /// Extents of an input that the model leaves open: all of them, or those of one row
    #[arg(long = "shape", value_name = "NAME:DIMS")]
    pub(crate) shapes: Vec<ShapeOverride>,

    /// `random`, `zeros`, a JSON file in perf_analyzer's layout, or NAME=FILE for one input's raw bytes
    #[arg(long = "input-data", value_name = "SOURCE")]
    pub(crate) sources: Vec<DataSource>,

    /// Declare an input, and do not ask the server for the model's metadata
    #[arg(long = "input", value_name = "NAME:DATATYPE:DIMS")]
    pub(crate) inputs: Vec<InputSpec>,

    /// Bytes of each generated string
    #[arg(long, default_value_t = 128)]
    pub(crate) string_length: usize,

    /// Different requests to generate, and send in turn if nothing else is said: more than one keeps a response cache from
    /// answering all. One if left out; with --repeat-ratio as many as 256 MiB hold, up to 100,000
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) distinct: Option<u32>,

    /// Send with this probability (0 to 1) a request that was sent before, and else a new one
    #[arg(long, value_name = "R", value_parser = parse_share, conflicts_with = "zipf")]
    pub(crate) repeat_ratio: Option<f64>,

    /// Draw requests by a Zipf law: the one of rank k as often as k to the power of -S
    #[arg(long, value_name = "S", value_parser = parse_exponent, requires = "distinct")]
    pub(crate) zipf: Option<f64>,

    /// Decode every answer, and count those that do not decode as failed
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Measurement")]
pub(crate) struct MeasureArgs {
    /// Load before the first window of each level
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    pub(crate) warmup: Duration,

    /// Length of a window
    #[arg(long, default_value = "2s", value_parser = parse_positive_duration)]
    pub(crate) measurement_interval: Duration,

    /// Windows in a row that must agree; they make the result. With --compare: windows per server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) windows: u32,

    /// How far apart windows may lie that agree, in per cent
    #[arg(long, default_value_t = 10.0, value_parser = parse_percentage)]
    pub(crate) stability_percentage: f64,

    /// The latency percentile that must agree
    #[arg(long, default_value_t = 95.0, value_parser = parse_percentage)]
    pub(crate) percentile: f64,

    /// Most windows per level
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max_windows: u32,

    /// The server's Prometheus metrics, for its own view of each stage; port 8002 of its host if left out
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) metrics_url: Option<String>,

    /// Process id of a server on this machine, for its CPU time per request
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,

    /// Process id of the second server; the first one's if both sides are one server
    #[arg(long, value_name = "PID", requires = "second")]
    pub(crate) compare_server_pid: Option<u32>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write the results as JSON to this file, or to standard output (-) instead of the table
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) json: Option<PathBuf>,

    /// Write the results as CSV to this file, or to standard output (-) instead of the table
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) csv: Option<PathBuf>,

    /// Write no table
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Fail if more than this share of requests failed (0 to 1)
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub(crate) max_error_rate: Option<f64>,
}

impl DataArgs {
    /// How the next request is drawn.
    pub(crate) fn law(&self) -> Law {
        match (self.repeat_ratio, self.zipf) {
            (Some(ratio), _) => Law::Repeat(ratio),
            (None, Some(exponent)) => Law::Zipf(exponent),
            (None, None) => Law::InTurn,
        }
    }

    /// How many different requests there are to be.
    pub(crate) fn count(&self) -> Distinct {
        match (self.distinct, self.repeat_ratio) {
            (None, None) => Distinct::Exactly(1),
            (None, Some(_)) => Distinct::AsManyAs { requests: 100_000, bytes: 256 << 20 },
            (Some(distinct), _) => Distinct::Exactly(distinct as usize),
        }
    }
}

impl LoadArgs {
    /// Threads that send.
    pub(crate) fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or((cores / 2).max(1), |threads| threads as usize)
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    // A bare number is seconds.
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }
}

/// A duration of at least a millisecond; a bare number is seconds.
pub(crate) fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        duration if duration >= Duration::from_millis(1) => Ok(duration),
        _ => Err("at least one millisecond is needed".to_owned()),
    }
}

fn parse_percentage(text: &str) -> Result<f64, String> {
    number_within(text, 100.0)
}

fn parse_share(text: &str) -> Result<f64, String> {
    number_within(text, 1.0)
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    number_within(text, 10.0)
}

fn number_within(text: &str, most: f64) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|value| (0.0..=most).contains(value))
        .ok_or_else(|| format!("expected a number from 0 to {most}"))
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| "expected NAME: VALUE".to_owned())?;
    let name: HeaderName = name.trim().parse().map_err(|_| format!("`{name}` is no header name"))?;
    let value: HeaderValue = value
        .trim()
        .parse()
        .map_err(|_| "the value has characters that a header may not have".to_owned())?;
    match name.as_str() {
        "host" | "content-length" | "transfer-encoding" | "connection" => {
            Err(format!("`{name}` is set by the load generator"))
        }
        _ => Ok((name, value)),
    }
}

#[cfg(test)]
mod tests;
