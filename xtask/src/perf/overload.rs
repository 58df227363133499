//! Goodput: answers within their deadline, under as much load as a model can bear and up to ten times more; admitted by
//! cost, and first come, first served.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::figure::{Figure, digits};
use super::goal::Goal;
use super::load::{lenient, rest};
use super::spread::Spread;
use super::workbench::Workbench;
use crate::process;

/// A model that is asked for more than it can do.
struct Model {
    name: &'static str,
    what: &'static str,
    /// What a run takes, and what each row of it does more.
    takes: [(&'static str, &'static str); 2],
}

const MODELS: [Model; 2] = [
    // 40 ms for a full batch of eight, which only sleeps: the load generator does not take what is measured.
    Model {
        name: "busy",
        what: "model that sleeps",
        takes: [
            ("execute_delay_microseconds", "16000"),
            ("execute_delay_row_microseconds", "3000"),
        ],
    },
    // About the same on a core of its own, which refused requests and the load generator have a use for, too.
    Model {
        name: "working",
        what: "model that computes",
        takes: [("execute_steps", "16000000"), ("execute_steps_row", "3000000")],
    },
];

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

/// Goodput of each model at each multiple against the best of the same repetition, with admission by cost and without.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let models = models(bench)?;
    let mut figures = Vec::new();
    for model in &MODELS {
        figures.append(&mut measure(bench, &models, model)?);
    }
    Ok(figures)
}

fn measure(bench: &Workbench, models: &Path, model: &Model) -> Result<Vec<Figure>> {
    let mut capacities = Vec::new();
    let mut goodput = [BY_COST, FIFO].map(|admission| (admission, vec![Vec::new(); FACTORS.len()]));
    for _ in 0..bench.count(4, 1) {
        let capacity = {
            let adulis = bench.serve(models)?;
            capacity(bench, (model.name, &rest(adulis.http)))?
        };
        capacities.push(capacity);
        for (admission, levels) in &mut goodput {
            let adulis = bench.serve_with(models, &["--set", &format!("engine.admission={admission}")])?;
            let told = offer(bench, (model.name, &rest(adulis.http)), capacity)?;
            for (level, good) in levels.iter_mut().zip(told) {
                level.push(good);
            }
        }
    }
    let [(_, by_cost), (_, fifo)] = &goodput;
    let peaks: Vec<f64> = (0..capacities.len())
        .map(|round| by_cost.iter().map(|level| level[round]).fold(f64::MIN_POSITIVE, f64::max))
        .collect();
    let what = model.what;
    let title = format!("capacity of the {what}: requests/s, 32 connections");
    let mut figures = vec![Figure::new(title, "/s", &capacities)?];
    for (index, factor) in FACTORS.iter().enumerate() {
        let title = format!("{what}: goodput at {factor} times that, {DEADLINE} deadline, against its peak");
        let figure = figure(title, &by_cost[index], &peaks)?;
        figures.push(if *factor > 1.0 { figure.goal(Goal::AtLeast(0.95)) } else { figure });
    }
    for (index, factor) in FACTORS.iter().enumerate() {
        let title = format!("{what}: the same first come, first served, at {factor} times");
        figures.push(figure(title, &fifo[index], &peaks)?);
    }
    Ok(figures)
}

fn figure(what: String, goodput: &[f64], peaks: &[f64]) -> Result<Figure> {
    let ratios: Vec<f64> = goodput.iter().zip(peaks).map(|(good, peak)| good / peak).collect();
    let median = Spread::of(goodput.iter().copied()).context("nothing was measured")?.median;
    Ok(Figure::new(what, "×", &ratios)?.remark(format!("{} answers/s in time", digits(median))))
}

/// Requests per second where as many are in flight as fill batches.
fn capacity(bench: &Workbench, asked: (&str, &str)) -> Result<f64> {
    let told = bench_run(bench, asked, &["--concurrency", "32"])?;
    let level = told.results.first().context("`adulis bench` has no result")?;
    ensure!(level.requests_per_second > 0.0, "the model answers nothing");
    Ok(level.requests_per_second)
}

/// Goodput at each multiple of `capacity`.
fn offer(bench: &Workbench, asked: (&str, &str), capacity: f64) -> Result<Vec<f64>> {
    let rates = FACTORS.map(|factor| format!("{:.1}", factor * capacity)).join(",");
    let told = bench_run(bench, asked, &["--rate", &rates, "--deadline", DEADLINE, "--connections", "1024"])?;
    ensure!(told.results.len() == FACTORS.len(), "`adulis bench` left levels out");
    told.results
        .iter()
        .map(|level| level.goodput_per_second.context("`adulis bench` tells no goodput"))
        .collect()
}

fn bench_run(bench: &Workbench, (model, url): (&str, &str), load: &[&str]) -> Result<Told> {
    let mut command = lenient(bench, model, url);
    command.args(load);
    let windows = bench.count(5, 2).to_string();
    command.args(["--warmup", "2s", "--measurement-interval", "1s"]);
    command.args(["--windows", &windows, "--max-windows", &windows]);
    let told =
        process::capture_with_progress(&mut command, &format!("overload of {model}: {}", load.join(" ")))?;
    serde_json::from_str(&told).context("cannot understand what `adulis bench` says")
}

fn models(bench: &Workbench) -> Result<PathBuf> {
    let repository = bench.folder.join("overloaded");
    for Model { name, takes, .. } in &MODELS {
        super::cache::write(&repository.join(name), &config(takes))?;
    }
    Ok(repository)
}

fn config(takes: &[(&str, &str)]) -> String {
    let parameter = |(key, value): &(&str, &str)| {
        format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}\n")
    };
    let parameters: String = takes.iter().map(parameter).collect();
    format!("backend: \"identity\"\nmax_batch_size: 8\ndynamic_batching {{ }}\n{parameters}")
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
