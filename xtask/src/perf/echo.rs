//! Adulis against bare servers on the same libraries: what serving adds to reading and echoing bytes.

use std::time::Duration;

use anyhow::{Context, Result};

use super::figure::{Figure, digits};
use super::goal::Goal;
use super::load::{Contest, Pair, Second, Window, grpc, repeated, rest};
use super::spread::Spread;
use super::workbench::{Adulis, BATCHED, Baseline, Rounds, Workbench};

/// Rounds of requests per second.
const THROUGHPUT: Rounds = Rounds { repetitions: 2, windows: 12, interval: Duration::from_millis(500) };

/// CPU time is told in hundredths of a second: longer windows.
const CPU: Rounds = Rounds { repetitions: 2, windows: 8, interval: Duration::from_secs(1) };

/// At one connection the processes' places on the cores matter: more starts.
const LATENCY: Rounds = Rounds { repetitions: 4, windows: 6, interval: Duration::from_millis(500) };

/// Requests per second over REST, 64 connections.
pub(super) fn rest_throughput(bench: &Workbench) -> Result<Vec<Figure>> {
    let pairs = against(bench, THROUGHPUT, |adulis, baseline| Contest {
        name: "echo-rest",
        model: "identity",
        first: rest(adulis.http),
        second: Second::Echo(rest(baseline.http)),
        load: &["--concurrency", "64"],
        pids: None,
    })?;
    let what = "identity of 16 FP32, REST binary, 64 connections: requests/s against the bare Axum handler";
    Ok(vec![throughput(what, &pairs)?.goal(Goal::AtLeast(0.85))])
}

/// Requests per second over gRPC, 64 in flight.
pub(super) fn grpc_throughput(bench: &Workbench) -> Result<Vec<Figure>> {
    let pairs = against(bench, THROUGHPUT, |adulis, baseline| Contest {
        name: "echo-grpc",
        model: "identity",
        first: grpc(adulis.grpc),
        second: Second::Server(grpc(baseline.grpc)),
        load: &["--concurrency", "64"],
        pids: Some([adulis.process.pid(), baseline.process.pid()]),
    })?;
    let what = "the same over gRPC, 8 connections × 8 streams, against the bare tonic service";
    let cpu = cpu_ratio("its CPU time per request against the bare tonic service's", &pairs)?;
    Ok(vec![throughput(what, &pairs)?.goal(Goal::AtLeast(0.9)), cpu])
}

/// Latency that serving adds at one connection.
pub(super) fn added_latency(bench: &Workbench) -> Result<Vec<Figure>> {
    let pairs = against(bench, LATENCY, |adulis, baseline| Contest {
        name: "added-latency",
        model: "identity",
        first: rest(adulis.http),
        second: Second::Echo(rest(baseline.http)),
        load: &["--concurrency", "1"],
        pids: None,
    })?;
    let what = "identity, REST binary, one connection: p50 added over the bare handler";
    Ok(vec![added_p50(what, &pairs)?.goal(Goal::AtMost(30.0))])
}

/// CPU time of the MLP per request.
pub(super) fn cpu(bench: &Workbench) -> Result<Vec<Figure>> {
    let pairs = against(bench, CPU, |adulis, baseline| Contest {
        name: "cpu",
        model: BATCHED,
        first: rest(adulis.http),
        second: Second::Echo(rest(baseline.http)),
        load: &["--concurrency", "64"],
        pids: Some([adulis.process.pid(), baseline.process.pid()]),
    })?;
    let what =
        "MLP, REST binary, 64 connections, batching on: server CPU per request against the bare handler's";
    Ok(vec![cpu_ratio(what, &pairs)?.goal(Goal::AtMost(3.5))])
}

/// The pairs of all repetitions, each with servers of its own.
fn against(
    bench: &Workbench,
    full: Rounds,
    contest: impl Fn(&Adulis, &Baseline) -> Contest<'static>,
) -> Result<Vec<Pair>> {
    let models = bench.models()?;
    let start = || Ok((bench.serve(&models)?, bench.baseline()?));
    repeated(bench, full, start, |(adulis, baseline)| contest(adulis, baseline))
}

/// Requests per second of the first side over the second.
pub(super) fn throughput(what: &str, pairs: &[Pair]) -> Result<Figure> {
    let ratios: Vec<f64> = pairs
        .iter()
        .map(|pair| pair.first.requests_per_second / pair.second.requests_per_second)
        .collect();
    let remark = sides(pairs, |window| window.requests_per_second, "/s")?;
    Ok(Figure::new(what, "×", &ratios)?.remark(remark))
}

/// CPU time per request of the first side's server over that of the second's.
pub(super) fn cpu_ratio(what: &str, pairs: &[Pair]) -> Result<Figure> {
    let cpu = |window: &Window| window.server_cpu_microseconds_per_request;
    let ratios: Vec<f64> =
        pairs.iter().filter_map(|pair| Some(cpu(&pair.first)? / cpu(&pair.second)?)).collect();
    let remark = sides(pairs, |window| cpu(window).unwrap_or(f64::NAN), "µs")?;
    Ok(Figure::new(what, "×", &ratios)?.remark(remark))
}

/// Median latency of the first side less that of the second.
pub(super) fn added_p50(what: &str, pairs: &[Pair]) -> Result<Figure> {
    let added: Vec<f64> = pairs
        .iter()
        .map(|pair| pair.first.p50_microseconds - pair.second.p50_microseconds)
        .collect();
    let remark = sides(pairs, |window| window.p50_microseconds, "µs")?;
    Ok(Figure::new(what, "µs", &added)?.remark(remark))
}

/// Medians of the two sides.
pub(super) fn sides(pairs: &[Pair], figure: impl Fn(&Window) -> f64, unit: &str) -> Result<String> {
    let first = Spread::of(pairs.iter().map(|pair| figure(&pair.first))).context("no windows")?;
    let second = Spread::of(pairs.iter().map(|pair| figure(&pair.second))).context("no windows")?;
    let space = if unit.starts_with('/') { "" } else { " " };
    Ok(format!(
        "{}{space}{unit} against {}{space}{unit}",
        digits(first.median),
        digits(second.median)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(requests_per_second: f64, cpu: f64) -> Window {
        Window {
            requests_per_second,
            server_cpu_microseconds_per_request: Some(cpu),
            ..Window::default()
        }
    }

    fn pairs() -> Vec<Pair> {
        // The machine slows down by half from one pair to the next: the ratio doesn't.
        [1.0, 0.5, 0.25]
            .map(|speed| Pair {
                first: window(45_000.0 * speed, 30.0),
                second: window(50_000.0 * speed, 12.0),
            })
            .to_vec()
    }

    #[test]
    fn ratios_are_of_neighbours() {
        let figure = throughput("x", &pairs()).unwrap();
        assert!((figure.spread.min - 0.9).abs() < 1e-9 && (figure.spread.max - 0.9).abs() < 1e-9);
        assert_eq!(figure.remark, "22,500/s against 25,000/s");
        let figure = cpu_ratio("x", &pairs()).unwrap();
        assert!((figure.spread.median - 2.5).abs() < 1e-9);
        assert_eq!(figure.remark, "30.0 µs against 12.0 µs");
    }

    #[test]
    fn windows_without_cpu_time_are_no_samples() {
        let mut pairs = pairs();
        for pair in &mut pairs {
            pair.first.server_cpu_microseconds_per_request = None;
        }
        assert!(cpu_ratio("x", &pairs).is_err());
    }
}
