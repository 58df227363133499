//! Requests of which half the rows are known: looked up row by row, against looked up whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::echo::{sides, throughput};
use super::super::figure::{Figure, digits};
use super::super::goal::Goal;
use super::super::load::{Contest, Level, Pair, Second, rest};
use super::super::probe;
use super::super::workbench::{Adulis, BATCHED, Rounds, Workbench};

const ROUNDS: Rounds = Rounds { repetitions: 2, windows: 8, interval: Duration::from_millis(500) };

/// Rows of a request.
const ROWS: usize = 32;

/// Those of them that are in every request.
const KNOWN: usize = 16;

/// Requests, sent in turn.
const REQUESTS: usize = 4000;

/// How long answers are known. When a request comes again its new rows are no longer, and those in every request are seldom
/// computed anew.
const TTL: &str = "150ms";

/// What is asked.
struct Subject {
    /// A model without a cache, from which the two are made.
    from: &'static str,
    shown: &'static str,
    input: &'static str,
    /// Values of a row.
    width: usize,
    more: &'static str,
}

const SUBJECTS: [Subject; 2] = [
    Subject { from: BATCHED, shown: "MLP", input: "INPUT", width: 64, more: "" },
    Subject {
        from: "identity",
        shown: "a model that takes 100 µs for each row",
        input: "INPUT0",
        width: 16,
        more: "parameters { key: \"execute_delay_row_microseconds\" value: { string_value: \"100\" } }\n",
    },
];

/// The two levels of load.
const ONE: &str = "1";
const EIGHT: &str = "8";

/// Latency, throughput and rows run, of both ways to look up.
pub(in super::super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for subject in &SUBJECTS {
        figures.extend(compare(bench, subject)?);
    }
    Ok(figures)
}

fn compare(bench: &Workbench, subject: &Subject) -> Result<Vec<Figure>> {
    let rounds = bench.rounds(ROUNDS);
    let repository = repository(bench, subject)?;
    let rows = bench.folder.join(format!("half-known-{}.json", subject.from));
    write_rows(subject, REQUESTS, &rows).with_context(|| format!("cannot write {}", rows.display()))?;
    let (levels, batch, rows) = (format!("{ONE},{EIGHT}"), ROWS.to_string(), rows.display().to_string());
    // Each the next new one, whoever sends it.
    let load = [
        "--concurrency",
        &levels,
        "--batch",
        &batch,
        "--input-data",
        &rows,
        "--repeat-ratio",
        "0",
    ];
    let (mut single, mut several, mut run) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.repetitions {
        let adulis = bench.serve(&repository)?;
        let contest = Contest {
            name: "half-known batches",
            model: "by_row",
            first: rest(adulis.http),
            second: Second::Model("whole"),
            load: &load,
            pids: None,
        };
        let levels = contest.run(bench, rounds)?;
        single.extend(pairs_at(&levels, ONE));
        several.extend(pairs_at(&levels, EIGHT));
        let [by_row, whole] = [rows_run(&adulis, "by_row")?, rows_run(&adulis, "whole")?];
        ensure!(
            whole > 0.99,
            "of rows that are looked up whole only {whole} of 1 were run: some requests were known"
        );
        run.push(by_row / whole);
    }
    let begin = format!("{}, {ROWS} rows of which {KNOWN} are known", subject.shown);
    let latency: Vec<f64> = single
        .iter()
        .map(|pair| pair.first.p50_microseconds / pair.second.p50_microseconds)
        .collect();
    let remark = sides(&single, |window| window.p50_microseconds, "µs")?;
    Ok(vec![
        Figure::new(format!("{begin}: rows run, row by row over whole"), "×", &run)?.goal(Goal::AtMost(0.55)),
        Figure::new(format!("{begin}, 1 connection: p50 row by row over whole"), "×", &latency)?
            .remark(remark),
        throughput(&format!("{begin}, 8 connections: requests/s row by row against whole"), &several)?,
    ])
}

fn pairs_at(levels: &[Level], load: &str) -> Vec<Pair> {
    levels
        .iter()
        .filter(|level| level.load == load)
        .flat_map(|level| level.pairs.clone())
        .collect()
}

/// Rows that a model ran, for each that it was asked.
fn rows_run(adulis: &Adulis, model: &str) -> Result<f64> {
    let (_, text) = probe::get(adulis.metrics, "/metrics")?;
    let model = format!("model=\"{model}\"");
    let requests = probe::metric_sum(&text, "adulis_cache_requests_total", &[&model]);
    ensure!(requests > 0.0, "the server has counted no requests for {}", digits(requests));
    Ok(probe::metric_sum(&text, "adulis_inference_rows_total", &[&model]) / (requests * ROWS as f64))
}

/// The model twice, with both ways to look up.
fn repository(bench: &Workbench, subject: &Subject) -> Result<PathBuf> {
    let repository = bench.folder.join(format!("half-known-{}", subject.from));
    for (name, row_wise) in [("by_row", true), ("whole", false)] {
        let parameter = |key: &str, value: &str| {
            format!("parameters {{ key: \"{key}\" value: {{ string_value: \"{value}\" }} }}\n")
        };
        let ttl = parameter("response_cache_ttl", TTL);
        let row_wise = parameter("response_cache_row_wise", &row_wise.to_string());
        let more = format!("{}{}{ttl}{row_wise}", super::ENABLED, subject.more);
        super::copy(bench, subject.from, &repository.join(name), &more)?;
    }
    Ok(repository)
}

/// Input data for `adulis bench`: of each request every other row is one of a few, the others are in no other.
fn write_rows(subject: &Subject, requests: usize, path: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write!(file, "{{\"data\":[")?;
    let mut new = KNOWN;
    for index in 0..requests * ROWS {
        let number = if index % 2 == 0 { index / 2 % KNOWN } else { new };
        new += index % 2;
        let comma = if index == 0 { "" } else { "," };
        let values = values(number, subject.width);
        write!(file, "{comma}{{\"{}\":[{}]}}", subject.input, values.join(","))?;
    }
    write!(file, "]}}")?;
    Ok(file.flush()?)
}

/// A row that has no other number's values: its number's digits to the base of 100 first.
fn values(number: usize, width: usize) -> Vec<String> {
    let digits = [
        number % 100,
        number / 100 % 100,
        number / 10_000 % 100,
        number / 1_000_000,
    ];
    let rest = (digits.len()..width).map(|index| (number * 31 + index * 17) % 100);
    digits.into_iter().chain(rest).map(|value| value.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn half_of_each_request_is_new_and_half_in_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.json");
        write_rows(&SUBJECTS[1], 200, &path).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let read: BTreeMap<String, Vec<BTreeMap<String, Vec<u32>>>> = serde_json::from_str(&text).unwrap();
        let rows: Vec<&Vec<u32>> = read["data"].iter().map(|row| &row["INPUT0"]).collect();
        assert_eq!(rows.len(), 200 * ROWS);
        assert!(rows.iter().all(|row| row.len() == 16));
        let first: BTreeSet<_> = rows[..ROWS].iter().collect();
        let last: BTreeSet<_> = rows[rows.len() - ROWS..].iter().collect();
        assert_eq!((first.len(), last.len()), (ROWS, ROWS));
        assert_eq!(first.intersection(&last).count(), KNOWN);
        let all: BTreeSet<_> = rows.iter().collect();
        assert_eq!(all.len(), KNOWN + 200 * (ROWS - KNOWN));
    }
}
