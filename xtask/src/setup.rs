//! `cargo xtask setup`: what the server and its examples need beyond what Cargo builds.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::python::Python;
use crate::{cache, onnxruntime, process, workspace};

/// Flags of `setup`.
#[derive(Args, Default)]
pub(crate) struct SetupArgs {
    /// Take ONNX Runtime from this wheel instead of fetching it (its digest is still checked).
    #[arg(long, value_name = "FILE")]
    onnxruntime_wheel: Option<PathBuf>,
}

/// Sets everything up; fails if a part could not be.
pub(crate) fn run(args: &SetupArgs) -> Result<ExitCode> {
    let missing = ensure(args)?;
    report(&missing);
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A part that could not be set up.
pub(crate) struct Missing {
    what: &'static str,
    why: anyhow::Error,
    without_it: &'static str,
}

/// Sets up what is not there yet; the parts don't depend on each other, so each is tried.
///
/// # Errors
/// The cache folder can't be used at all.
pub(crate) fn ensure(args: &SetupArgs) -> Result<Vec<Missing>> {
    let _alone = cache::lock()?;
    let mut missing = Vec::new();
    match onnxruntime::ensure(args.onnxruntime_wheel.as_deref()) {
        Ok(library) => eprintln!("ONNX Runtime: {}", library.display()),
        Err(why) => missing.push(Missing {
            what: "ONNX Runtime",
            why,
            without_it: "the server runs models with tract, its pure-Rust engine",
        }),
    }
    if let Err(why) = example_models() {
        missing.push(Missing {
            what: "the generated example models",
            why,
            without_it: "the models that the repository carries work",
        });
    }
    Ok(missing)
}

/// Says what is missing, why, and what works without it.
pub(crate) fn report(missing: &[Missing]) {
    for Missing { what, why, without_it } in missing {
        eprintln!("\nmissing: {what}\n  why: {why:#}\n  without it: {without_it}");
    }
}

/// Makes the example models that are too large to carry in the repository.
fn example_models() -> Result<()> {
    let models = workspace::root().join("examples").join("models");
    let script = models.join("setup.py");
    let environment = Python::find()?.environment("models", &models.join("requirements.txt"))?;
    process::run(environment.python().arg(&script).arg("--out").arg(&models))
        .with_context(|| format!("{} failed", script.display()))?;
    eprintln!("example models: {}", models.display());
    Ok(())
}
