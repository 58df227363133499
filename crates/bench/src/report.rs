//! What was measured, as people and programs read it. Units end the names.

mod comparison;
mod csv;
mod table;

use std::time::Duration;

use serde::Serialize;

use crate::cached::CacheReport;
use crate::load::Load;
use crate::measure::Window;
use crate::tally::{Latencies, Tally};

pub use crate::idle::IdleReport;
pub use comparison::{Comparison, Pair, Ratio, WindowReport};
pub(crate) use csv::write_csv;
pub(crate) use table::{Style, write_table};

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The model, if one was named.
    pub model: Option<String>,
    /// Rows per request.
    pub rows_per_request: u32,
    /// Seed of arrivals and data.
    pub seed: u64,
    /// Sending threads.
    pub threads: usize,
    /// One entry per level of load and server, in the order they were measured.
    pub results: Vec<LevelReport>,
    /// With `--compare`, one entry per level of load.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Comparison>,
    /// With `--idle`, what became of those connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleReport>,
}

/// One server at one level of load.
#[derive(Debug, Clone, Serialize)]
pub struct LevelReport {
    /// The server.
    pub url: String,
    /// The model, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The protocol, or the fixed path of `--raw`.
    pub protocol: String,
    /// Requests in flight, in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Intended requests per second, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Windows that were measured.
    pub windows: usize,
    /// Windows that the figures below are of.
    pub windows_used: usize,
    /// Whether those agree.
    pub stable: bool,
    /// Their length together.
    pub measured_seconds: f64,
    /// Good answers.
    pub requests: u64,
    /// Good answers per second.
    pub requests_per_second: f64,
    /// Rows in them per second.
    pub rows_per_second: f64,
    /// From sending to the answer.
    pub service_latency: LatencyReport,
    /// Open loop: from the intended send time to the answer. This is what users would see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_latency: Option<LatencyReport>,
    /// Open loop: from the intended to the actual send time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lateness: Option<LatencyReport>,
    /// Open loop: at the end, how long ago the oldest request should have been sent that had not been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_seconds: Option<f64>,
    /// Bytes sent per second, heads included over REST.
    pub sent_bytes_per_second: f64,
    /// Bytes received per second.
    pub received_bytes_per_second: f64,
    /// Share of the answered requests whose like had been sent before in this run, 0 to 1, where requests are drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_share: Option<f64>,
    /// What the server's response cache did with them, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheReport>,
    /// The same for each window.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_by_window: Vec<CacheReport>,
    /// The deadline that the server was told of, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<f64>,
    /// Good answers per second that came before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput_per_second: Option<f64>,
    /// Failed requests.
    pub failed: u64,
    /// Failed requests by kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureReport>,
    /// Requests in flight when the last window ended.
    pub in_flight_at_end: usize,
    /// CPU time of the server process per good answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_microseconds_per_request: Option<f64>,
    /// The server's own view: mean time per stage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_stages: Vec<StageReport>,
    /// CPU time of the load generator per second, in cores.
    pub generator_cores: f64,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "each field is the percentile of its name")]
pub struct LatencyReport {
    pub mean_microseconds: f64,
    pub p50_microseconds: f64,
    pub p90_microseconds: f64,
    pub p95_microseconds: f64,
    pub p99_microseconds: f64,
    pub p99_9_microseconds: f64,
    pub max_microseconds: f64,
}

/// Failures of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct FailureReport {
    /// The kind.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// What the first one said.
    pub example: String,
}

/// One stage of the server.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Its name.
    pub stage: String,
    /// Requests that went through it.
    pub requests: f64,
    /// Mean time in it.
    pub mean_microseconds: f64,
}

/// `duration` in microseconds.
pub(crate) fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

impl From<&Latencies> for LatencyReport {
    fn from(latencies: &Latencies) -> Self {
        let at = |percentile| microseconds(latencies.percentile(percentile));
        Self {
            mean_microseconds: microseconds(latencies.mean()),
            p50_microseconds: at(50.0),
            p90_microseconds: at(90.0),
            p95_microseconds: at(95.0),
            p99_microseconds: at(99.0),
            p99_9_microseconds: at(99.9),
            max_microseconds: microseconds(latencies.max()),
        }
    }
}

/// Whose windows a report is made of.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) url: String,
    pub(crate) model: Option<String>,
    pub(crate) protocol: String,
    pub(crate) rows_per_request: u32,
    /// Whether requests are drawn by chance.
    pub(crate) is_drawn: bool,
    pub(crate) deadline: Option<Duration>,
}

impl LevelReport {
    /// Sums up `used`, the last of `windows` windows.
    pub(crate) fn new(subject: &Subject, load: Load, windows: usize, used: &[Window]) -> Self {
        let mut total = Window::default();
        for window in used {
            total.merge(window);
        }
        let seconds = total.elapsed.as_secs_f64();
        let per_second = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let tally = &total.tally;
        let requests_per_second = per_second(as_f64(tally.answered()));
        let open = tally.open.as_ref();
        let (concurrency, rate) = match load {
            Load::Concurrency(count) => (Some(count), None),
            Load::Rate(rate) => (None, Some(rate)),
        };
        Self {
            url: subject.url.clone(),
            model: subject.model.clone(),
            protocol: subject.protocol.clone(),
            concurrency,
            rate,
            windows,
            windows_used: used.len(),
            stable: false,
            measured_seconds: seconds,
            requests: tally.answered(),
            requests_per_second,
            rows_per_second: requests_per_second * f64::from(subject.rows_per_request),
            service_latency: (&tally.service).into(),
            response_latency: open.map(|open| (&open.response).into()),
            lateness: open.map(|open| (&open.lateness).into()),
            behind_seconds: rate.map(|_| total.behind.as_secs_f64()),
            sent_bytes_per_second: per_second(as_f64(tally.sent_bytes)),
            received_bytes_per_second: per_second(as_f64(tally.received_bytes)),
            repeat_share: (subject.is_drawn && tally.answered() > 0)
                .then(|| as_f64(tally.repeats) / as_f64(tally.answered())),
            cache: (tally.cache.total() > 0).then_some(tally.cache),
            cache_by_window: match tally.cache.total() {
                0 => Vec::new(),
                _ => used.iter().map(|window| window.tally.cache).collect(),
            },
            deadline_seconds: subject.deadline.map(|deadline| deadline.as_secs_f64()),
            goodput_per_second: subject.deadline.map(|_| per_second(as_f64(tally.in_time))),
            failed: tally.failed_count(),
            failures: failures(tally),
            in_flight_at_end: total.in_flight,
            server_cpu_microseconds_per_request: total.server_cpu_microseconds_per_request(),
            server_stages: stages(&total),
            generator_cores: per_second(total.own_cpu.as_secs_f64()),
        }
    }

    /// The latency that users would see.
    #[must_use]
    pub fn latency(&self) -> &LatencyReport {
        self.response_latency.as_ref().unwrap_or(&self.service_latency)
    }

    /// Share of requests that failed, 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        let all = self.requests + self.failed;
        if all == 0 { 0.0 } else { as_f64(self.failed) / as_f64(all) }
    }

    /// The level of load as people write it.
    #[must_use]
    pub fn load(&self) -> String {
        match (self.concurrency, self.rate) {
            (Some(count), _) => Load::Concurrency(count).to_string(),
            (_, rate) => Load::Rate(rate.unwrap_or_default()).to_string(),
        }
    }
}

fn failures(tally: &Tally) -> Vec<FailureReport> {
    let report = tally.failures.iter().map(|(kind, failure)| FailureReport {
        kind: kind.to_string(),
        count: failure.count,
        example: failure.example.clone(),
    });
    report.collect()
}

/// The order in which a request goes through the stages that the server tells.
const STAGES: [&str; 6] = [
    "queue",
    "batch",
    "compute_input",
    "compute_infer",
    "compute_output",
    "total",
];

fn stages(window: &Window) -> Vec<StageReport> {
    let Some(server) = &window.server else {
        return Vec::new();
    };
    let mut stages: Vec<_> = server
        .stages
        .iter()
        .filter(|(_, (_, count))| *count > 0.0)
        .map(|(stage, (seconds, count))| StageReport {
            stage: stage.clone(),
            requests: *count,
            mean_microseconds: seconds / count * 1e6,
        })
        .collect();
    let place = |stage: &str| STAGES.iter().position(|known| *known == stage);
    stages.sort_by_key(|stage| place(&stage.stage).unwrap_or(STAGES.len()));
    stages
}

#[cfg(test)]
mod tests;
