//! `cargo xtask image`: the server's container image, from a binary that Cargo built outside of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::tools::Tool;
use crate::{onnxruntime, process, workspace};

const CARGO_AUDITABLE: Tool = Tool { name: "auditable", version: "0.7.7" };

/// What the binary was made from, as it says itself, beside it in the image.
const DEPENDENCIES: &str = "dependencies.json";

/// Where the `Dockerfile` finds what was built outside; laid out as it will be in the image.
const STAGE: &str = "deploy/docker/prebuilt";

/// Flags of `image`.
#[derive(Args)]
pub(crate) struct ImageArgs {
    /// Name of the image.
    #[arg(long, default_value = "adulis")]
    tag: String,
    /// Use the debug profile: built sooner, runs slower.
    #[arg(long)]
    debug: bool,
    /// Build and lay out the files, and leave the image to somebody else.
    #[arg(long)]
    stage_only: bool,
}

/// Builds the binary, lays it out together with ONNX Runtime, and has Docker make an image of both.
pub(crate) fn run(args: &ImageArgs) -> Result<ExitCode> {
    let library = onnxruntime::ensure(None)?;
    let binary = build(args.debug)?;
    let stage = workspace::root().join(STAGE);
    lay_out(&binary, &library, &stage)?;
    list_dependencies(&stage)?;
    if !args.stage_only {
        let mut docker = Command::new("docker");
        // BuildKit, because it leaves out the stages that the chosen binary doesn't need.
        docker.env("DOCKER_BUILDKIT", "1").current_dir(workspace::root());
        docker.args(["build", "--build-arg", "BINARY=prebuilt", "--tag", &args.tag, "."]);
        process::run(&mut docker).context("no image was made: is a Docker engine running, with BuildKit?")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// With the list of its dependencies inside, which scanners for known vulnerabilities read out of it.
fn build(debug: bool) -> Result<PathBuf> {
    let mut cargo = CARGO_AUDITABLE.command()?;
    cargo.args(["build", "--locked", "--package", "adulis"]);
    if !debug {
        cargo.arg("--release");
    }
    process::run(&mut cargo)?;
    workspace::binary(if debug { "debug" } else { "release" })
}

/// The binary, the library in `lib/` beside it, where the server looks first, and the library's licences.
fn lay_out(binary: &Path, library: &Path, stage: &Path) -> Result<()> {
    if stage.exists() {
        fs::remove_dir_all(stage).with_context(|| format!("cannot empty {}", stage.display()))?;
    }
    let libraries = stage.join("lib");
    fs::create_dir_all(&libraries).with_context(|| format!("cannot make {}", libraries.display()))?;
    copy(binary, &stage.join("adulis"))?;
    let installed = library.parent().context("invariant: the library is in a folder")?;
    for name in onnxruntime::FILES {
        copy(&installed.join(name), &libraries.join(name))?;
    }
    Ok(())
}

/// Writes the list that the binary carries beside it.
fn list_dependencies(stage: &Path) -> Result<()> {
    let binary = stage.join("adulis");
    let list = auditable_info::json_from_file(&binary, auditable_info::Limits::default());
    let list = list.with_context(|| format!("{} does not say what it was made from", binary.display()))?;
    let path = stage.join(DEPENDENCIES);
    fs::write(&path, list).with_context(|| format!("cannot write {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = fs::copy(from, to);
    copied
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_replaced_as_a_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let (binary, installed) = (scratch.path().join("built"), scratch.path().join("1.28.0"));
        fs::write(&binary, "binary").unwrap();
        fs::create_dir(&installed).unwrap();
        for name in onnxruntime::FILES {
            fs::write(installed.join(name), name).unwrap();
        }
        let stage = scratch.path().join("stage");
        fs::create_dir_all(stage.join("old")).unwrap();

        lay_out(&binary, &installed.join("libonnxruntime.so"), &stage).unwrap();

        assert_eq!(fs::read_to_string(stage.join("adulis")).unwrap(), "binary");
        assert!(stage.join("lib/libonnxruntime.so").is_file() && stage.join("lib/LICENSE").is_file());
        assert!(!stage.join("old").exists());
    }

    #[test]
    fn a_binary_without_a_list_of_its_dependencies_is_not_taken() {
        let scratch = tempfile::tempdir().unwrap();
        copy(&std::env::current_exe().unwrap(), &scratch.path().join("adulis")).unwrap();
        let error = list_dependencies(scratch.path()).unwrap_err();
        assert!(error.to_string().contains("what it was made from"), "{error:#}");
    }

    #[test]
    fn a_missing_binary_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let error =
            lay_out(&scratch.path().join("none"), &scratch.path().join("a/b"), &scratch.path().join("s"));
        assert!(error.unwrap_err().to_string().contains("none"));
    }
}
