//! The JSON codec, by its own benchmark.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::figure::{Figure, digits};
use super::goal::Goal;
use super::spread::Spread;
use super::workbench::Workbench;
use crate::{process, workspace};

/// The benchmark of an image as JSON, in two forms of numbers, and what it is held against.
const GROUP: &str = "image";

/// What criterion keeps of a benchmark: sample by sample, iterations and nanoseconds.
#[derive(Deserialize)]
struct Samples {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// Builds the benchmark.
///
/// # Errors
/// It doesn't build.
pub(super) fn build() -> Result<()> {
    process::run(workspace::cargo().args(["bench", "-p", "adulis-protocol", "--bench", "codec", "--no-run"]))
}

/// Decoding 150,528 FP32 values.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let home = bench.folder.join("criterion");
    let mut command = workspace::cargo();
    command.args([
        "bench",
        "-p",
        "adulis-protocol",
        "--bench",
        "codec",
        "--",
        "--noplot",
    ]);
    command.args([
        "--warm-up-time",
        "1",
        "--measurement-time",
        if bench.quick { "1" } else { "4" },
    ]);
    command
        .arg(format!("^{GROUP}/(serde_json|simd-json|rest/decode)"))
        .env("CRITERION_HOME", &home);
    process::capture_with_progress(&mut command, "json: decoding 150,528 values")?;
    let read = |name: &str| milliseconds(&home, name);
    let binary = median(&read("rest/decode binary")?)?;
    let mut figures = Vec::new();
    for (form, shown) in [
        ("shortest", "1.6 MB, shortest form"),
        ("NumPy", "2.9 MB, as NumPy prints"),
    ] {
        let ours = read(&format!("rest/decode JSON, {form} form"))?;
        let typed = median(&read(&format!("serde_json, {form} form"))?)?;
        let what = format!("150,528 FP32 as JSON ({shown}): decode");
        let remark =
            format!("serde_json into typed values {} ms, binary {} µs", digits(typed), digits(binary * 1e3));
        figures.push(Figure::new(what, "ms", &ours)?.goal(Goal::AtMost(4.0)).remark(remark));
        let simd = median(&read(&format!("simd-json, {form} form"))?)?;
        let ratio = median(&ours)? / simd;
        let what = format!("the same ({form} form): time over simd-json's into typed values");
        let remark = format!("simd-json {} ms", digits(simd));
        figures.push(Figure::new(what, "×", &[ratio])?.goal(Goal::AtMost(2.0)).remark(remark));
    }
    Ok(figures)
}

/// The samples of a benchmark.
fn milliseconds(home: &Path, name: &str) -> Result<Vec<f64>> {
    // criterion puts an underscore where a file's name can't have the character.
    let path = home.join(GROUP).join(name.replace('/', "_")).join("new").join("sample.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    per_iteration(&text).with_context(|| format!("cannot understand {}", path.display()))
}

fn per_iteration(text: &str) -> Result<Vec<f64>> {
    let Samples { iters, times } = serde_json::from_str(text)?;
    if iters.is_empty() || iters.len() != times.len() {
        bail!("{} iteration counts and {} times", iters.len(), times.len());
    }
    Ok(iters
        .iter()
        .zip(&times)
        .map(|(iterations, nanoseconds)| nanoseconds / iterations / 1e6)
        .collect())
}

fn median(samples: &[f64]) -> Result<f64> {
    Ok(Spread::of(samples.iter().copied()).context("no samples")?.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_times_per_iteration() {
        let text = r#"{"sampling_mode":"Linear","iters":[1.0,2.0],"times":[3000000.0,8000000.0]}"#;
        assert_eq!(per_iteration(text).unwrap(), [3.0, 4.0]);
        assert!(per_iteration(r#"{"iters":[1.0],"times":[]}"#).is_err());
        assert!(per_iteration(r#"{"iters":[],"times":[]}"#).is_err());
    }
}
