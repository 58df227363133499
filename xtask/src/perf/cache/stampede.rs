//! A thousand identical requests at once: how many executions they cause.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use adulis_testing::BackingServer;
use anyhow::{Context, Result, ensure};

use super::super::figure::{Figure, digits};
use super::super::goal::Goal;
use super::super::load::{Running, generator, grpc, one_window, rest};
use super::super::probe;
use super::super::workbench::{Adulis, Workbench};

/// How many come at once.
const REQUESTS: usize = 1000;

/// The model: its answer takes long enough for all of them to arrive.
const SLOW: &str = "slow";

/// How long, in milliseconds.
const RUN: usize = 1000;

/// Over gRPC: streams of a connection.
const STREAMS: &str = "50";

/// Executions that a thousand requests cause, over REST, over gRPC, and at two replicas that share a Redis.
pub(in super::super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let repository = repository(bench)?;
    let alone = [bench.serve(&repository)?];
    let redis = BackingServer::redis(&[]);
    let url = format!("cache.redis.url=redis://{}", redis.address());
    let shared = ["--set", url.as_str()];
    let replicas = [
        bench.serve_with(&repository, &shared)?,
        bench.serve_with(&repository, &shared)?,
    ];
    let what = |how: &str| format!("{REQUESTS} identical requests at once, {how}: executions");
    Ok(vec![
        stampede(bench, &alone, rest_of, &what("over REST"))?,
        stampede(bench, &alone, grpc_of, &what("over gRPC"))?,
        stampede(
            bench,
            &replicas,
            rest_of,
            &what("half of them at each of two replicas that share a Redis"),
        )?,
    ])
}

fn rest_of(adulis: &Adulis) -> String {
    rest(adulis.http)
}

fn grpc_of(adulis: &Adulis) -> String {
    grpc(adulis.grpc)
}

fn repository(bench: &Workbench) -> Result<PathBuf> {
    let repository = bench.folder.join("slow");
    let config = format!(
        "backend: \"identity\"\nmax_batch_size: 64\n\
         input {{ name: \"INPUT0\" data_type: TYPE_FP32 dims: 16 }}\n\
         output {{ name: \"OUTPUT0\" data_type: TYPE_FP32 dims: 16 }}\n\
         parameters {{ key: \"execute_delay_ms\" value: {{ string_value: \"{RUN}\" }} }}\n{}",
        super::ENABLED
    );
    super::write(&repository.join(SLOW), &config)?;
    Ok(repository)
}

/// One stampede after the other, each with a request of its own that nobody has asked before.
fn stampede(
    bench: &Workbench,
    servers: &[Adulis],
    url: impl Fn(&Adulis) -> String,
    what: &str,
) -> Result<Figure> {
    let rounds = bench.count(5, 1);
    eprintln!("{what}: {rounds} times …");
    let (mut executions, mut coalesced, mut slowest) = (Vec::new(), Vec::new(), 0.0_f64);
    let each = REQUESTS / servers.len();
    for round in 0..rounds {
        let before = Counts::of(servers)?;
        // Of the clock, so that no earlier one, over another protocol, has had the same.
        let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let mut load = Vec::new();
        for adulis in servers {
            let mut command = generator(bench, SLOW, &url(adulis));
            command.args(["--concurrency", &each.to_string(), "--streams", STREAMS]);
            command.args(["--seed", &seed.to_string()]);
            one_window(&mut command, 3 * RUN);
            load.push(Running::start(&mut command)?);
        }
        for running in load {
            slowest = slowest.max(running.finish()?.latency().max_microseconds / 1e3);
        }
        let counts = Counts::of(servers)?.since(before);
        ensure!(
            counts.coalesced >= 0.9 * REQUESTS as f64,
            "stampede {round}: only {} requests arrived while the first was being answered: the machine is too busy",
            counts.coalesced
        );
        executions.push(counts.executions);
        coalesced.push(counts.coalesced);
    }
    // Once more than one is one too many: no median.
    let most = executions.into_iter().fold(0.0, f64::max);
    let least = coalesced.into_iter().fold(f64::INFINITY, f64::min);
    let remark = format!(
        "the most of {rounds} times; a run takes {} ms; {} and more waited for it; the slowest answer took {} ms; none failed",
        digits(RUN as f64),
        digits(least),
        digits(slowest)
    );
    Ok(Figure::new(what, "", &[most])?.goal(Goal::AtMost(1.0)).remark(remark))
}

/// What servers have counted.
#[derive(Debug, Clone, Copy)]
struct Counts {
    executions: f64,
    /// Requests that waited for the run of another.
    coalesced: f64,
}

impl Counts {
    /// All of them together. Their metrics and the statistics extension must tell the same.
    fn of(servers: &[Adulis]) -> Result<Self> {
        let mut sum = Self { executions: 0.0, coalesced: 0.0 };
        let model = format!("model=\"{SLOW}\"");
        for adulis in servers {
            let (_, text) = probe::get(adulis.metrics, "/metrics")?;
            let executions = probe::metric_sum(&text, "adulis_executions_total", &[&model]);
            let (_, statistics) = probe::get(adulis.http, &format!("/v2/models/{SLOW}/stats"))?;
            let told = executions_told(&statistics)?;
            ensure!(executions == told, "metrics tell {executions} executions, the statistics {told}");
            sum.executions += executions;
            let outcome = [model.as_str(), "outcome=\"coalesced\""];
            sum.coalesced += probe::metric_sum(&text, "adulis_cache_requests_total", &outcome);
        }
        Ok(sum)
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            executions: self.executions - earlier.executions,
            coalesced: self.coalesced - earlier.coalesced,
        }
    }
}

/// `execution_count` of the statistics extension.
fn executions_told(statistics: &str) -> Result<f64> {
    let told: serde_json::Value = serde_json::from_str(statistics).context("the statistics are no JSON")?;
    told["model_stats"][0]["execution_count"]
        .as_f64()
        .context("the statistics have no execution_count")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_read_from_the_statistics() {
        let text = r#"{"model_stats":[{"name":"slow","version":"1","execution_count":3}]}"#;
        assert_eq!(executions_told(text).unwrap(), 3.0);
        assert!(executions_told("{}").is_err());
    }
}
