//! One request in every form that a tensor travels in, over the wire and through shared memory (`benches/forms`).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::figure::{Figure, digits};
use super::goal::Goal;
use super::spread::Spread;
use super::workbench::Workbench;
use crate::python::{Environment, Python};
use crate::{process, workspace};

/// How often each form is asked.
const ROUNDS: usize = 60;

/// The forms of 150,528 FP32 values, as the script names them; binary is what the others are compared with.
const IMAGE: [&str; 5] = ["json", "binary", "protobuf over http", "flatbuffers", "grpc"];
const BINARY: &str = "binary";

/// Identity over FP32 of any length.
const WIDE: &str = "backend: \"identity\"\nmax_batch_size: 1\n\
     input { name: \"INPUT0\" data_type: TYPE_FP32 dims: -1 }\n\
     output { name: \"OUTPUT0\" data_type: TYPE_FP32 dims: -1 }\n";

/// The Python environment of the conformance tests, whose clients the script uses.
///
/// # Errors
/// There is no Python, or pip can't fetch what is needed.
pub(super) fn environment() -> Result<Environment> {
    let requirements = workspace::root().join("conformance").join("requirements.txt");
    Python::find()?.environment("conformance", &requirements)
}

/// Milliseconds of a request and its answer in each form, and shared memory against the wire.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let adulis = bench.serve_with(&wide(bench)?, &["--shared-memory"])?;
    let mut script = environment()?.python();
    script.arg(workspace::root().join("benches").join("forms").join("forms.py"));
    script.args([
        "--http",
        &adulis.http.to_string(),
        "--grpc",
        &adulis.grpc.to_string(),
    ]);
    script.args(["--rounds", &bench.count(ROUNDS, 5).to_string()]);
    eprintln!("forms: {} rounds …", bench.count(ROUNDS, 5));
    let told = process::capture(&mut script)?;
    figures(&serde_json::from_str(&told).context("expected JSON of the script")?)
}

/// A repository with the model that the script asks.
fn wide(bench: &Workbench) -> Result<PathBuf> {
    let repository = bench.folder.join("wide");
    fs::create_dir_all(repository.join("wide").join("1"))?;
    fs::write(repository.join("wide").join("config.pbtxt"), WIDE)?;
    Ok(repository)
}

fn figures(times: &BTreeMap<String, Vec<f64>>) -> Result<Vec<Figure>> {
    let of = |form: &str| times.get(form).with_context(|| format!("the script says nothing of {form}"));
    let mut figures = Vec::new();
    for form in IMAGE {
        let times = of(form)?;
        let mut figure = Figure::new(format!("150,528 FP32 there and back, {form}"), "ms", times)?;
        if form != BINARY {
            let ratio = Spread::of(ratios(times, of(BINARY)?)).context("no samples")?;
            figure = figure.remark(format!("{} times binary", digits(ratio.median)));
        }
        figures.push(figure);
    }
    let shared = of("10 MiB shared memory")?;
    for wire in ["binary", "grpc"] {
        let others = of(&format!("10 MiB {wire}"))?;
        let what = format!("10 MiB there and back: shared memory over {wire}");
        let [here, there] = [shared, others].map(|times| Spread::of(times.iter().copied()));
        let told = |spread: Option<Spread>| spread.map_or_else(String::new, |it| digits(it.median));
        let figure = Figure::new(what, "×", &ratios(shared, others))?.goal(Goal::AtMost(1.0));
        figures.push(figure.remark(format!("{} ms against {} ms", told(here), told(there))));
    }
    Ok(figures)
}

/// Each round's own: what else goes on in the machine meets both.
fn ratios(times: &[f64], others: &[f64]) -> Vec<f64> {
    times.iter().zip(others).map(|(time, other)| time / other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_a_figure_and_shared_memory_a_goal() {
        let mut times: BTreeMap<String, Vec<f64>> =
            IMAGE.iter().map(|form| ((*form).to_owned(), vec![2.0, 4.0])).collect();
        times.insert("json".to_owned(), vec![6.0, 12.0]);
        times.insert("10 MiB shared memory".to_owned(), vec![5.0]);
        assert!(figures(&times).is_err());
        times.insert("10 MiB binary".to_owned(), vec![10.0]);
        times.insert("10 MiB grpc".to_owned(), vec![4.0]);
        let figures = figures(&times).unwrap();
        assert_eq!(figures.len(), 7);
        assert_eq!(figures[0].remark, "3.00 times binary");
        assert_eq!(figures[5].spread.median, 0.5);
        assert_eq!(figures[6].remark, "5.00 ms against 4.00 ms");
    }
}
