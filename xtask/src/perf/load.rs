//! Load from `adulis bench`, and what its JSON says.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::workbench::{Rounds, Workbench};
use crate::process;

/// Load before the first window of each side.
const WARMUP: &str = "1s";
const QUICK_WARMUP: &str = "200ms";

/// Two sides that are sent the same requests in alternating windows.
pub(super) struct Contest<'a> {
    /// For the line that says what is going on.
    pub(super) name: &'a str,
    pub(super) model: &'a str,
    /// `http://…` or `grpc://…`.
    pub(super) first: String,
    pub(super) second: Second<'a>,
    /// Requests in flight, as `adulis bench` takes them.
    pub(super) concurrency: &'a str,
    /// Processes whose CPU time is wanted.
    pub(super) pids: Option<[u32; 2]>,
}

/// The side that the first one is held against.
pub(super) enum Second<'a> {
    /// A REST server that echoes whatever is posted to any path.
    Echo(String),
    /// A server that answers the same requests.
    Server(String),
    /// Another model of the first server.
    Model(&'a str),
}

/// The windows of one level of load.
#[derive(Debug, Deserialize)]
pub(super) struct Level {
    /// Requests in flight.
    pub(super) load: String,
    pub(super) pairs: Vec<Pair>,
}

/// Neighbouring windows, one of each side.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Pair {
    pub(super) first: Window,
    pub(super) second: Window,
}

/// What one window measured.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Window {
    pub(super) requests_per_second: f64,
    pub(super) p50_microseconds: f64,
    pub(super) server_cpu_microseconds_per_request: Option<f64>,
}

#[derive(Deserialize)]
struct Compared {
    comparisons: Vec<Level>,
}

#[derive(Deserialize)]
struct Alone {
    results: Vec<Side>,
}

#[derive(Deserialize)]
struct Side {
    service_latency: Latency,
}

#[derive(Deserialize)]
struct Latency {
    p50_microseconds: f64,
}

impl Contest<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// The load can't be made, or a request failed: the figure would not be one of the work that was asked for.
    pub(super) fn run(&self, bench: &Workbench, rounds: Rounds) -> Result<Vec<Level>> {
        let mut command = self.command(bench, rounds);
        let doing = format!("{}: {} pairs of windows of {:?}", self.name, rounds.windows, rounds.interval);
        let told = process::capture_with_progress(&mut command, &doing)?;
        let compared: Compared =
            serde_json::from_str(&told).context("cannot understand what `adulis bench` says")?;
        Ok(compared.comparisons)
    }

    fn command(&self, bench: &Workbench, rounds: Rounds) -> Command {
        let mut command = generator(bench, self.model, &self.first);
        command.args([
            "--concurrency",
            self.concurrency,
            "--windows",
            &rounds.windows.to_string(),
        ]);
        command.arg("--measurement-interval").arg(format!("{}ms", rounds.interval.as_millis()));
        command.args(["--warmup", if bench.quick { QUICK_WARMUP } else { WARMUP }]);
        match &self.second {
            Second::Echo(url) => command.args(["--compare", url, "--raw", "/echo"]),
            Second::Server(url) => command.args(["--compare", url]),
            Second::Model(model) => command.args(["--compare-model", model]),
        };
        if let Some([first, second]) = self.pids {
            command.args([
                "--server-pid",
                &first.to_string(),
                "--compare-server-pid",
                &second.to_string(),
            ]);
        }
        command
    }
}

/// `adulis bench` of one model, JSON to standard output, no request allowed to fail.
pub(super) fn generator(bench: &Workbench, model: &str, url: &str) -> Command {
    let mut command = bench.program("adulis");
    command.args([
        "bench",
        "--model",
        model,
        "--url",
        url,
        "--json",
        "-",
        "--max-error-rate",
        "0",
    ]);
    command
}

/// Median latency of one window of one connection, in microseconds.
///
/// # Errors
/// As [`Contest::run`].
pub(super) fn p50_microseconds(bench: &Workbench, model: &str, url: &str, interval: &str) -> Result<f64> {
    let mut command = generator(bench, model, url);
    command.args(["--warmup", "100ms", "--measurement-interval", interval]);
    command.args(["--windows", "1", "--max-windows", "1"]);
    let told = process::capture(&mut command)?;
    let alone: Alone = serde_json::from_str(&told).context("cannot understand what `adulis bench` says")?;
    let side = alone.results.first().context("`adulis bench` has no result")?;
    Ok(side.service_latency.p50_microseconds)
}

/// The URL of a REST address.
pub(super) fn rest(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// The URL of a gRPC address.
pub(super) fn grpc(address: SocketAddr) -> String {
    format!("grpc://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_from_the_json_of_a_comparison() {
        let text = r#"{"model":"m","results":[],"comparisons":[{"load":"64","throughput":{"median":1.0},"pairs":[
            {"first":{"requests_per_second":10.0,"p50_microseconds":5.0,"p99_microseconds":6.0,"failed":0,
                      "server_cpu_microseconds_per_request":2.5},
             "second":{"requests_per_second":20.0,"p50_microseconds":2.0,"p99_microseconds":3.0,"failed":0}}]}]}"#;
        let compared: Compared = serde_json::from_str(text).unwrap();
        let level = &compared.comparisons[0];
        assert_eq!((level.load.as_str(), level.pairs.len()), ("64", 1));
        let Pair { first, second } = level.pairs[0];
        assert_eq!((first.requests_per_second, second.p50_microseconds), (10.0, 2.0));
        assert_eq!(first.server_cpu_microseconds_per_request, Some(2.5));
        assert_eq!(second.server_cpu_microseconds_per_request, None);
    }
}
