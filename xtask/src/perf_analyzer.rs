//! Triton's own load generator, for the conformance tests: a program inside a Python package, with two libraries.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::python::Python;
use crate::{debian, process, workspace};

/// Where the CUDA runtime library is in an environment, which perf_analyzer is linked against even where there is no GPU.
const CUDA_RUNTIME: &str =
    "import nvidia.cuda_runtime, pathlib; print(pathlib.Path(nvidia.cuda_runtime.__path__[0]) / 'lib')";

/// The package of Debian that has libb64, which it is linked against, too.
const LIBB64: &str = "libb64-0d";

/// Names it in the environment of the conformance tests, as `ADULIS_PERF_ANALYZER` and `ADULIS_PERF_ANALYZER_LIBRARIES`.
///
/// # Errors
/// It can't be had here: it is built for x86-64 and glibc only, and needs libb64.
pub(crate) fn provide(python: &Python, tests: &mut Command) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        bail!("perf_analyzer is published for x86-64 Linux with glibc only");
    }
    let requirements = workspace::root().join("conformance").join("perf_analyzer.txt");
    let environment = python.environment("perf-analyzer", &requirements)?;
    let libraries = process::capture(environment.python().args(["-c", CUDA_RUNTIME]))?;
    let program = environment.program("perf_analyzer");
    let start = || {
        let mut version = Command::new(&program);
        process::capture(version.env("LD_LIBRARY_PATH", libraries.trim()).arg("--version"))
    };
    if start().is_err() {
        if debian::can_install() {
            debian::install(&[LIBB64])?;
        }
        start().with_context(|| {
            format!("perf_analyzer does not start: install libb64 (Debian: `apt-get install {LIBB64}`)")
        })?;
    }
    tests.env("ADULIS_PERF_ANALYZER", program);
    tests.env("ADULIS_PERF_ANALYZER_LIBRARIES", libraries.trim());
    Ok(())
}
