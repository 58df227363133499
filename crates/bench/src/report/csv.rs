use std::io::Write;

use super::{LevelReport, Report};
use crate::cached::CacheReport;

const COLUMNS: [&str; 32] = [
    "url",
    "model",
    "protocol",
    "concurrency",
    "rate",
    "stable",
    "measured_seconds",
    "requests",
    "requests_per_second",
    "rows_per_second",
    "mean_microseconds",
    "p50_microseconds",
    "p90_microseconds",
    "p95_microseconds",
    "p99_microseconds",
    "p99_9_microseconds",
    "max_microseconds",
    "service_p50_microseconds",
    "service_p99_microseconds",
    "lateness_p99_microseconds",
    "behind_seconds",
    "goodput_per_second",
    "failed",
    "sent_bytes_per_second",
    "server_cpu_microseconds_per_request",
    "generator_cores",
    "repeat_share",
    "cache_hit",
    "cache_stale",
    "cache_coalesced",
    "cache_miss",
    "cache_bypass",
];

/// Writes one line per level and server. Latencies count from the intended send time where there is one.
pub(crate) fn write_csv(report: &Report, out: impl Write) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(COLUMNS)?;
    for result in &report.results {
        writer.write_record(line(result))?;
    }
    writer.flush()?;
    Ok(())
}

fn line(result: &LevelReport) -> [String; COLUMNS.len()] {
    let number = |value: f64| format!("{value:.3}");
    let maybe = |value: Option<f64>| value.map(number).unwrap_or_default();
    let latency = result.latency();
    let cached = |count: fn(&CacheReport) -> u64| {
        result.cache.as_ref().map(|cache| count(cache).to_string()).unwrap_or_default()
    };
    [
        result.url.clone(),
        result.model.clone().unwrap_or_default(),
        result.protocol.clone(),
        result.concurrency.map(|count| count.to_string()).unwrap_or_default(),
        result.rate.map(|rate| rate.to_string()).unwrap_or_default(),
        result.stable.to_string(),
        number(result.measured_seconds),
        result.requests.to_string(),
        number(result.requests_per_second),
        number(result.rows_per_second),
        number(latency.mean_microseconds),
        number(latency.p50_microseconds),
        number(latency.p90_microseconds),
        number(latency.p95_microseconds),
        number(latency.p99_microseconds),
        number(latency.p99_9_microseconds),
        number(latency.max_microseconds),
        number(result.service_latency.p50_microseconds),
        number(result.service_latency.p99_microseconds),
        maybe(result.lateness.map(|late| late.p99_microseconds)),
        maybe(result.behind_seconds),
        maybe(result.goodput_per_second),
        result.failed.to_string(),
        number(result.sent_bytes_per_second),
        maybe(result.server_cpu_microseconds_per_request),
        number(result.generator_cores),
        maybe(result.repeat_share),
        cached(|cache| cache.hit),
        cached(|cache| cache.stale),
        cached(|cache| cache.coalesced),
        cached(|cache| cache.miss),
        cached(|cache| cache.bypass),
    ]
}
