//! Goodput: answers within their deadline, under as much load as a model can bear and up to ten times more; admitted by
//! cost, and first come, first served.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::figure::{Figure, digits};
use super::goal::Goal;
use super::load::{lenient, rest};
use super::spread::Spread;
use super::workbench::Workbench;
use crate::process;

const MODEL: &str = "busy";

/// 40 ms for a full batch of eight, which only sleeps: the load generator does not take what is measured.
const CONFIG: &str = r#"backend: "identity"
max_batch_size: 8
dynamic_batching { }
parameters { key: "execute_delay_microseconds" value { string_value: "16000" } }
parameters { key: "execute_delay_row_microseconds" value { string_value: "3000" } }
"#;

/// What each answer may take, from the moment at which it was meant to be asked.
const DEADLINE: &str = "200ms";

/// Multiples of what the model can do.
const FACTORS: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// How requests are admitted.
const BY_COST: &str = "cost";
const FIFO: &str = "none";

#[derive(Deserialize)]
struct Told {
    results: Vec<Level>,
}

#[derive(Deserialize)]
struct Level {
    requests_per_second: f64,
    goodput_per_second: Option<f64>,
}

/// Goodput at each multiple against the best of the same repetition, with admission by cost and without.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let models = models(bench)?;
    let mut capacities = Vec::new();
    let mut goodput = [BY_COST, FIFO].map(|admission| (admission, vec![Vec::new(); FACTORS.len()]));
    for _ in 0..bench.count(4, 1) {
        let capacity = {
            let adulis = bench.serve(&models)?;
            capacity(bench, &rest(adulis.http))?
        };
        capacities.push(capacity);
        for (admission, levels) in &mut goodput {
            let adulis = bench.serve_with(&models, &["--set", &format!("engine.admission={admission}")])?;
            for (level, good) in levels.iter_mut().zip(offer(bench, &rest(adulis.http), capacity)?) {
                level.push(good);
            }
        }
    }
    let [(_, by_cost), (_, fifo)] = &goodput;
    let peaks: Vec<f64> = (0..capacities.len())
        .map(|round| by_cost.iter().map(|level| level[round]).fold(f64::MIN_POSITIVE, f64::max))
        .collect();
    let mut figures = vec![Figure::new(
        "capacity of the model: requests/s, 32 connections",
        "/s",
        &capacities,
    )?];
    for (index, factor) in FACTORS.iter().enumerate() {
        let what = format!("goodput at {factor} times that, {DEADLINE} deadline, against its peak");
        let figure = figure(what, &by_cost[index], &peaks)?;
        figures.push(if *factor > 1.0 { figure.goal(Goal::AtLeast(0.95)) } else { figure });
    }
    for (index, factor) in FACTORS.iter().enumerate() {
        let what = format!("the same first come, first served, at {factor} times");
        figures.push(figure(what, &fifo[index], &peaks)?);
    }
    Ok(figures)
}

fn figure(what: String, goodput: &[f64], peaks: &[f64]) -> Result<Figure> {
    let ratios: Vec<f64> = goodput.iter().zip(peaks).map(|(good, peak)| good / peak).collect();
    let median = Spread::of(goodput.iter().copied()).context("nothing was measured")?.median;
    Ok(Figure::new(what, "×", &ratios)?.remark(format!("{} answers/s in time", digits(median))))
}

/// Requests per second where as many are in flight as fill batches.
fn capacity(bench: &Workbench, url: &str) -> Result<f64> {
    let told = bench_run(bench, url, &["--concurrency", "32"])?;
    let level = told.results.first().context("`adulis bench` has no result")?;
    ensure!(level.requests_per_second > 0.0, "the model answers nothing");
    Ok(level.requests_per_second)
}

/// Goodput at each multiple of `capacity`.
fn offer(bench: &Workbench, url: &str, capacity: f64) -> Result<Vec<f64>> {
    let rates = FACTORS.map(|factor| format!("{:.1}", factor * capacity)).join(",");
    let told = bench_run(bench, url, &["--rate", &rates, "--deadline", DEADLINE, "--connections", "1024"])?;
    ensure!(told.results.len() == FACTORS.len(), "`adulis bench` left levels out");
    told.results
        .iter()
        .map(|level| level.goodput_per_second.context("`adulis bench` tells no goodput"))
        .collect()
}

fn bench_run(bench: &Workbench, url: &str, load: &[&str]) -> Result<Told> {
    let mut command = lenient(bench, MODEL, url);
    command.args(load);
    let windows = bench.count(5, 2).to_string();
    command.args(["--warmup", "2s", "--measurement-interval", "1s"]);
    command.args(["--windows", &windows, "--max-windows", &windows]);
    let told = process::capture_with_progress(&mut command, &format!("overload: {}", load.join(" ")))?;
    serde_json::from_str(&told).context("cannot understand what `adulis bench` says")
}

fn models(bench: &Workbench) -> Result<PathBuf> {
    let repository = bench.folder.join("overloaded");
    super::cache::write(&repository.join(MODEL), CONFIG)?;
    Ok(repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodput_is_read_from_the_json_and_held_against_its_peak() {
        let text =
            r#"{"model":"m","results":[{"rate":10.0,"requests_per_second":9.0,"goodput_per_second":8.0}]}"#;
        let told: Told = serde_json::from_str(text).unwrap();
        assert_eq!(
            (told.results[0].requests_per_second, told.results[0].goodput_per_second),
            (9.0, Some(8.0))
        );
        let figure = figure("x".to_owned(), &[390.0, 380.0, 200.0], &[400.0, 400.0, 400.0]).unwrap();
        assert!((figure.spread.median - 0.95).abs() < 1e-9);
        assert_eq!(figure.remark, "380 answers/s in time");
    }
}
