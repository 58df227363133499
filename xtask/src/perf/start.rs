//! From the start of the process until it is ready: one model, and more than a thousand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::figure::Figure;
use super::goal::Goal;
use super::machine::cores;
use super::probe::Footprint;
use super::workbench::Workbench;
use crate::python::Python;
use crate::{cache, process, workspace};

/// Start to ready with the digits model.
pub(super) fn digits(bench: &Workbench) -> Result<Vec<Figure>> {
    let model = workspace::root().join("examples").join("models").join("digits");
    let starts = starts(bench, &model, bench.count(15, 3))?;
    let milliseconds: Vec<f64> = starts.iter().map(|start| start.seconds * 1e3).collect();
    let what = "start to ready with the digits model";
    let memory: Vec<f64> = starts.iter().map(|start| start.footprint.resident_mib).collect();
    Ok(vec![
        Figure::new(what, "ms", &milliseconds)?.goal(Goal::AtMost(150.0)),
        Figure::new("resident memory then", "MiB", &memory)?,
    ])
}

/// Start to ready, threads and memory with a repository of many small models.
pub(super) fn many_models(bench: &Workbench) -> Result<Vec<Figure>> {
    let repository = node_tests(bench)?;
    let models = fs::read_dir(&repository)?.count();
    let starts = starts(bench, &repository, bench.count(5, 1))?;
    let column = |figure: &dyn Fn(&Start) -> f64| starts.iter().map(figure).collect::<Vec<f64>>();
    let threads_goal = Goal::AtMost(cores() as f64 + 8.0);
    Ok(vec![
        Figure::new(
            format!("{models} small models (ONNX node tests): start to ready"),
            "s",
            &column(&|it| it.seconds),
        )?
        .goal(Goal::AtMost(20.0)),
        Figure::new("threads then", "", &column(&|it| it.footprint.threads))?
            .goal(threads_goal)
            .remark(format!("{} cores + 8", cores())),
        Figure::new("resident memory then", "MiB", &column(&|it| it.footprint.resident_mib))?
            .goal(Goal::AtMost(400.0)),
    ])
}

/// What one start took.
struct Start {
    seconds: f64,
    footprint: Footprint,
}

fn starts(bench: &Workbench, repository: &Path, count: usize) -> Result<Vec<Start>> {
    // The first one reads files from the disk.
    drop(bench.serve(repository)?);
    let start = |_| {
        let adulis = bench.serve(repository)?;
        let footprint = Footprint::of(adulis.process.pid())?;
        Ok(Start { seconds: adulis.ready_after.as_secs_f64(), footprint })
    };
    (0..count).map(start).collect()
}

/// The repository of ONNX's node tests, made once per version of its script.
///
/// # Errors
/// There is no Python, pip can't fetch what is needed, or the script fails.
pub(super) fn node_tests(bench: &Workbench) -> Result<PathBuf> {
    let examples = workspace::root().join("examples").join("models");
    let script = examples.join("node_tests.py");
    let requirements = examples.join("requirements-extra.txt");
    let source = fs::read(&script).with_context(|| format!("cannot read {}", script.display()))?;
    let out = bench.folder.join(format!("node-tests-{}", &cache::sha256(&source)[..12]));
    // The script puts its folder in place in one step.
    if !out.exists() {
        let environment = Python::find()?.environment("models-extra", &requirements)?;
        let mut command = environment.python();
        command.arg(&script).arg("--out").arg(&out);
        process::capture_with_progress(&mut command, "making a repository of ONNX's node tests")?;
    }
    Ok(out.join("models"))
}
