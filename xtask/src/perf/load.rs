//! Load from `adulis bench`, and what its JSON says.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
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
    /// How much is sent and what, in the words of `adulis bench`.
    pub(super) load: &'a [&'a str],
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
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Window {
    pub(super) requests_per_second: f64,
    pub(super) p50_microseconds: f64,
    pub(super) p99_microseconds: f64,
    pub(super) server_cpu_microseconds_per_request: Option<f64>,
}

/// What a comparison measured.
#[derive(Debug, Deserialize)]
pub(super) struct Compared {
    /// Of each level of load first one side, then the other.
    pub(super) results: Vec<Side>,
    pub(super) comparisons: Vec<Level>,
}

#[derive(Deserialize)]
struct Alone {
    results: Vec<Side>,
}

/// All windows of one side at one level of load.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Side {
    /// Those that were answered.
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) requests_per_second: f64,
    service_latency: Latency,
    /// Of an open loop.
    response_latency: Option<Latency>,
    /// Where the server tells.
    pub(super) cache: Option<Outcomes>,
}

/// Percentiles of one side.
#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the unit ends the name, as in the JSON")]
pub(super) struct Latency {
    pub(super) p50_microseconds: f64,
    pub(super) p99_microseconds: f64,
    pub(super) max_microseconds: f64,
}

/// What a server's response cache did with requests.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Outcomes {
    pub(super) hit: u64,
    pub(super) stale: u64,
    pub(super) coalesced: u64,
    pub(super) miss: u64,
    pub(super) bypass: u64,
}

impl Outcomes {
    /// The share of them for which nothing had to be run, 0 to 1: found, or looked for by another at the same time.
    pub(super) fn found(&self) -> f64 {
        let found = self.hit + self.stale + self.coalesced;
        let all = found + self.miss + self.bypass;
        found as f64 / (all as f64).max(1.0)
    }
}

impl Side {
    /// What users would see: in an open loop from the time at which a request was meant to be sent.
    pub(super) fn latency(&self) -> Latency {
        self.response_latency.unwrap_or(self.service_latency)
    }
}

impl Contest<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// The load can't be made, or a request failed: the figure would not be one of the work that was asked for.
    pub(super) fn run(&self, bench: &Workbench, rounds: Rounds) -> Result<Vec<Level>> {
        let strict = generator(bench, self.model, &self.first);
        Ok(self.compare(bench, rounds, strict)?.comparisons)
    }

    /// Runs it, and counts requests that fail.
    ///
    /// # Errors
    /// The load can't be made.
    pub(super) fn count(&self, bench: &Workbench, rounds: Rounds) -> Result<Compared> {
        self.compare(bench, rounds, lenient(bench, self.model, &self.first))
    }

    fn compare(&self, bench: &Workbench, rounds: Rounds, mut command: Command) -> Result<Compared> {
        self.add_to(&mut command, bench, rounds);
        let doing = format!("{}: {} pairs of windows of {:?}", self.name, rounds.windows, rounds.interval);
        let told = process::capture_with_progress(&mut command, &doing)?;
        serde_json::from_str(&told).context("cannot understand what `adulis bench` says")
    }

    fn add_to(&self, command: &mut Command, bench: &Workbench, rounds: Rounds) {
        command.args(self.load).args(["--windows", &rounds.windows.to_string()]);
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
    }
}

/// The pairs of all repetitions, each with servers of its own.
///
/// # Errors
/// The servers can't be started; as [`Contest::run`].
pub(super) fn repeated<'a, Servers>(
    bench: &Workbench,
    full: Rounds,
    start: impl Fn() -> Result<Servers>,
    contest: impl Fn(&Servers) -> Contest<'a>,
) -> Result<Vec<Pair>> {
    let rounds = bench.rounds(full);
    let mut pairs = Vec::new();
    for _ in 0..rounds.repetitions {
        let servers = start()?;
        let levels = contest(&servers).run(bench, rounds)?;
        pairs.extend(levels.into_iter().flat_map(|level| level.pairs));
    }
    Ok(pairs)
}

/// `adulis bench` of one model, JSON to standard output, no request allowed to fail.
pub(super) fn generator(bench: &Workbench, model: &str, url: &str) -> Command {
    let mut command = lenient(bench, model, url);
    command.args(["--max-error-rate", "0"]);
    command
}

/// The same where requests that fail are counted.
pub(super) fn lenient(bench: &Workbench, model: &str, url: &str) -> Command {
    let mut command = bench.program("adulis");
    command.args(["bench", "--model", model, "--url", url, "--json", "-"]);
    command
}

/// Has `adulis bench` measure one window of this length, in milliseconds, without a warm-up.
pub(super) fn one_window(command: &mut Command, milliseconds: usize) {
    command.args(["--warmup", "0", "--windows", "1", "--max-windows", "1"]);
    command.args(["--measurement-interval", &format!("{milliseconds}ms")]);
}

/// `adulis bench` at work with one side and one level of load. Dropping it ends it.
pub(super) struct Running(Option<Child>);

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// There is no such program.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(Some(command.spawn().context("cannot start `adulis bench`")?)))
    }

    /// True while there is something to wait for.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn is_busy(&mut self) -> Result<bool> {
        match &mut self.0 {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Waits for what it measured.
    ///
    /// # Errors
    /// It failed, or can't be understood.
    pub(super) fn finish(mut self) -> Result<Side> {
        let child = self.0.take().context("`adulis bench` was not started")?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("`adulis bench`: {}", process::last_lines(&String::from_utf8_lossy(&output.stderr)));
        }
        Side::read(&String::from_utf8_lossy(&output.stdout))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Side {
    fn read(told: &str) -> Result<Self> {
        let alone: Alone =
            serde_json::from_str(told).context("cannot understand what `adulis bench` says")?;
        alone.results.into_iter().next().context("`adulis bench` has no result")
    }
}

/// Median latency of one window of one connection, in microseconds.
///
/// # Errors
/// As [`Contest::run`].
pub(super) fn p50_microseconds(bench: &Workbench, model: &str, url: &str, interval: &str) -> Result<f64> {
    let mut command = generator(bench, model, url);
    command.args(["--warmup", "100ms", "--measurement-interval", interval]);
    command.args(["--windows", "1", "--max-windows", "1"]);
    let side = Side::read(&process::capture(&mut command)?)?;
    Ok(side.service_latency.p50_microseconds)
}

/// Asks again and again, until nearly all is found in a tier that keeps what was computed: of what is written while much
/// else is being written, some is left out, and on a busy machine some look-ups take too long.
///
/// # Errors
/// A request failed, or the tier does not take what is computed.
pub(super) fn until_known(mut ask: impl FnMut() -> Result<Side>) -> Result<()> {
    for _ in 0..40 {
        if ask()?.cache.unwrap_or_default().found() > 0.99 {
            return Ok(());
        }
    }
    bail!("it does not take what is computed")
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
        assert_eq!((first.p99_microseconds, second.p99_microseconds), (6.0, 3.0));
    }

    #[test]
    fn an_open_loop_has_the_latency_that_users_see() {
        let latency = |p99: u32| {
            format!(r#"{{"p50_microseconds":1.0,"p99_microseconds":{p99},"max_microseconds":9.0}}"#)
        };
        let text = format!(
            r#"{{"results":[{{"requests":10,"failed":1,"requests_per_second":5.0,"service_latency":{},
                "response_latency":{},"cache":{{"hit":1,"stale":1,"coalesced":1,"miss":2,"bypass":1}}}}]}}"#,
            latency(2),
            latency(4)
        );
        let side = Side::read(&text).unwrap();
        assert_eq!((side.requests, side.failed, side.latency().p99_microseconds), (10, 1, 4.0));
        assert_eq!(side.cache.unwrap().found(), 0.5);
        let closed = text.replace("response_latency", "other");
        let side = Side::read(&closed).unwrap();
        assert_eq!(side.latency().p99_microseconds, 2.0);
        assert!(Side::read(r#"{"results":[]}"#).is_err());
    }

    #[test]
    fn a_generator_that_fails_says_why() {
        let mut running =
            Running::start(Command::new("sh").args(["-c", "echo no server >&2; exit 1"])).unwrap();
        while running.is_busy().unwrap() {}
        let error = running.finish().err().unwrap().to_string();
        assert!(error.contains("no server"), "{error}");
    }
}
