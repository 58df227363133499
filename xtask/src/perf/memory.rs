//! Whether memory grows with the number of requests.

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::figure::{Figure, digits};
use super::goal::Goal;
use super::load::{generator, rest};
use super::probe::{self, Footprint};
use super::workbench::{Adulis, BATCHED, Workbench};

/// Four times what the goal asks for: in the first million the allocator still takes what 64 connections need at the worst.
const REQUESTS: usize = 4_000_000;
const QUICK_REQUESTS: usize = 100_000;

/// Between two looks at the process.
const LOOK: Duration = Duration::from_millis(100);

/// The server has failed if it takes longer.
const LIMIT: Duration = Duration::from_secs(600);

/// What counts as no growth: of two million requests, half a byte each would be it.
const NOISE_MIB: f64 = 1.0;

const COUNTER: &str = "adulis_inference_requests_total";

/// Growth of resident memory over the last half of a million requests.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let wanted = bench.count(REQUESTS, QUICK_REQUESTS);
    let adulis = bench.serve(&bench.models()?)?;
    let course = {
        let _load = Load::start(bench, &adulis)?;
        watch(&adulis, wanted as f64)?
    };
    let (_, metrics) = probe::get(adulis.metrics, "/metrics")?;
    let failed =
        probe::metric_sum(&metrics, COUNTER, &[]) - probe::metric_sum(&metrics, COUNTER, &["outcome=\"ok\""]);
    // Those that were cut off with the load are cancelled, not failed.
    let cancelled = probe::metric_sum(&metrics, COUNTER, &["outcome=\"cancelled\""]);
    ensure!(failed <= cancelled, "{} requests failed", failed - cancelled);
    let what = format!(
        "resident memory over {} requests of the MLP: growth over the last half",
        digits(wanted as f64)
    );
    let last = course.last().context("no sample")?;
    let first = course.first().context("no sample")?;
    let remark = format!(
        "{} MiB at first, {} MiB at the end",
        digits(first.resident_mib),
        digits(last.resident_mib)
    );
    Ok(vec![
        Figure::new(what, "MiB", &growth(&course))?.goal(Goal::AtMost(NOISE_MIB)).remark(remark),
    ])
}

/// One look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Answered so far.
    pub(super) requests: f64,
    pub(super) resident_mib: f64,
}

/// Looks until so many requests have been answered.
fn watch(adulis: &Adulis, wanted: f64) -> Result<Vec<Look>> {
    let started = Instant::now();
    let mut course = Vec::new();
    eprintln!("memory: {} requests …", digits(wanted));
    loop {
        let (_, metrics) = probe::get(adulis.metrics, "/metrics")?;
        let requests = probe::metric_sum(&metrics, COUNTER, &["outcome=\"ok\""]);
        let resident_mib = Footprint::of(adulis.process.pid())?.resident_mib;
        // Before the first request the server has not taken what it needs to answer any.
        if requests > 0.0 {
            course.push(Look { requests, resident_mib });
        }
        if requests >= wanted {
            return Ok(course);
        }
        if started.elapsed() > LIMIT {
            bail!("only {requests} of {wanted} requests were answered in {LIMIT:?}");
        }
        thread::sleep(LOOK);
    }
}

/// Growth over the last half of the requests, in MiB: each look of the third quarter is paired with one of the fourth, as
/// far apart as a quarter is long, so that each pair is a sample of the same growth.
pub(super) fn growth(course: &[Look]) -> Vec<f64> {
    let end = course.last().map_or(0.0, |look| look.requests);
    let half: Vec<&Look> = course.iter().filter(|look| look.requests >= end / 2.0).collect();
    let quarter = half.len() / 2;
    let pairs = half.iter().zip(&half[quarter..]).take(quarter);
    // A pair shows what a quarter adds, and the half has two.
    pairs.map(|(early, late)| 2.0 * (late.resident_mib - early.resident_mib)).collect()
}

/// `adulis bench` at 64 connections, until it is dropped.
struct Load(Child);

impl Load {
    fn start(bench: &Workbench, adulis: &Adulis) -> Result<Self> {
        let mut command = generator(bench, BATCHED, &rest(adulis.http));
        command.args([
            "--concurrency",
            "64",
            "--warmup",
            "0",
            "--windows",
            "1000",
            "--max-windows",
            "1000",
        ]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self(child.context("cannot start `adulis bench`")?))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It has nothing to finish, and may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::super::spread::Spread;
    use super::*;

    fn course(resident_mib: impl Fn(f64) -> f64) -> Vec<Look> {
        let look = |index: u32| {
            let requests = f64::from(index) * 10_000.0;
            Look { requests, resident_mib: resident_mib(requests) }
        };
        (1..=100).map(look).collect()
    }

    fn median(course: &[Look]) -> f64 {
        Spread::of(growth(course)).unwrap().median
    }

    #[test]
    fn a_leak_is_seen_and_scaled_to_the_half() {
        // Ten bytes per request: 4.77 MiB in half a million.
        let leak = median(&course(|requests| 80.0 + requests * 10.0 / 1_048_576.0));
        assert!((leak - 4.77).abs() < 0.2, "{leak}");
    }

    #[test]
    fn what_grows_at_first_only_is_no_leak() {
        assert_eq!(median(&course(|requests| 80.0 + requests.min(400_000.0) / 10_000.0)), 0.0);
    }

    #[test]
    fn noise_is_no_leak() {
        let noisy = median(&course(|requests| 80.0 + (requests / 10_000.0 % 7.0) / 10.0));
        assert!(noisy.abs() < NOISE_MIB, "{noisy}");
    }
}
