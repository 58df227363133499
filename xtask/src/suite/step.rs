//! The steps of the test command. Each runs alone, whatever became of those before it.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::python::Python;
use crate::setup::{self, SetupArgs};
use crate::tools::Tool;
use crate::{codegen, debian, fuzz, perf_analyzer, process, tidy, workspace};

const CARGO_DENY: Tool = Tool { name: "deny", version: "0.20.2" };

/// In the order in which they run: the quick ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Step {
    /// ONNX Runtime and the example models are there.
    Setup,
    /// Rust code is formatted.
    Fmt,
    /// The rules of the house.
    Tidy,
    /// Generated code is what its sources generate.
    Codegen,
    /// Clippy, warnings denied.
    Clippy,
    /// The fuzz targets compile, with the versions of everything that the workspace has.
    Fuzz,
    /// Unit and integration tests.
    Test,
    /// Examples in the documentation.
    Doctest,
    /// The documentation builds, warnings denied.
    Rustdoc,
    /// Licences, sources and bans of all dependencies, those of the fuzz targets too.
    Deny,
    /// Known vulnerabilities in dependencies, where their database can be fetched.
    Advisories,
    /// Clients that nobody here wrote, against the real binary.
    Conformance,
}

/// How a step went.
pub(super) enum Verdict {
    Passed,
    Failed(anyhow::Error),
    /// An optional step that can't run on this machine.
    NotRun(anyhow::Error),
}

impl Step {
    /// As on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Fmt => "fmt",
            Self::Tidy => "tidy",
            Self::Codegen => "codegen",
            Self::Clippy => "clippy",
            Self::Fuzz => "fuzz",
            Self::Test => "test",
            Self::Doctest => "doctest",
            Self::Rustdoc => "rustdoc",
            Self::Deny => "deny",
            Self::Advisories => "advisories",
            Self::Conformance => "conformance",
        }
    }

    /// Runs it. A step that can't run has failed; only advisories may say that they could not be had.
    pub(super) fn run(self) -> Verdict {
        let result = match self {
            Self::Setup => set_up(),
            Self::Fmt => cargo(&["fmt", "--all", "--check"]),
            Self::Tidy => must_succeed(tidy::run()),
            Self::Codegen => codegen::codegen(true),
            Self::Clippy => cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ]),
            Self::Fuzz => fuzz::check(),
            Self::Test => tests(),
            Self::Doctest => cargo(&["test", "--workspace", "--doc"]),
            Self::Rustdoc => rustdoc(),
            Self::Deny => deny(),
            Self::Advisories => return advisories(),
            Self::Conformance => conformance(),
        };
        result.map_or_else(Verdict::Failed, |()| Verdict::Passed)
    }
}

fn cargo(args: &[&str]) -> Result<()> {
    process::run(workspace::cargo().args(args))
}

fn must_succeed(code: Result<ExitCode>) -> Result<()> {
    if code? != ExitCode::SUCCESS {
        bail!("see above");
    }
    Ok(())
}

fn set_up() -> Result<()> {
    must_succeed(setup::run(&SetupArgs::default()))
}

/// Servers that tests start themselves, and what lets a clock jump. Where one can't be had, the tests that need it fail and say
/// so.
fn backing_servers() {
    let servers = [
        ("redis-server", "redis-server"),
        ("redis-cli", "redis-tools"),
        ("memcached", "memcached"),
    ];
    for (program, package) in servers {
        if let Err(why) = debian::ensure(program, package) {
            eprintln!("{why:#}");
        }
    }
    for ensured in [debian::ensure_postgres(), debian::ensure_faketime()] {
        if let Err(why) = ensured {
            eprintln!("{why:#}");
        }
    }
}

/// Through nextest where it is installed: it runs tests of all crates at once.
fn tests() -> Result<()> {
    backing_servers();
    if process::succeeds(workspace::cargo().args(["nextest", "--version"])) {
        return cargo(&[
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--status-level",
            "fail",
        ]);
    }
    cargo(&[
        "test",
        "--workspace",
        "--no-fail-fast",
        "--lib",
        "--bins",
        "--tests",
        "--examples",
    ])
}

fn rustdoc() -> Result<()> {
    let mut doc = workspace::cargo();
    doc.env("RUSTDOCFLAGS", "--deny warnings").args(["doc", "--workspace", "--no-deps"]);
    process::run(&mut doc)
}

/// What the server is made of, and what the fuzz targets are, which have a lock file of their own.
fn deny() -> Result<()> {
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let mut deny = CARGO_DENY.command()?;
        deny.args(["--manifest-path", manifest, "check", "--hide-inclusion-graph"]);
        process::run(deny.args(["bans", "licenses", "sources"]))?;
    }
    Ok(())
}

fn advisories() -> Verdict {
    let fetched = CARGO_DENY.command().and_then(|mut deny| process::capture(deny.args(["fetch", "db"])));
    if let Err(why) = fetched {
        return Verdict::NotRun(why.context(
            "dependencies were NOT checked for known vulnerabilities, because the database of these can't be fetched from here",
        ));
    }
    let check = |mut deny: Command| process::run(deny.args(["check", "--disable-fetch", "advisories"]));
    CARGO_DENY.command().and_then(check).map_or_else(Verdict::Failed, |()| Verdict::Passed)
}

/// The Python tests in `conformance/`, which find the server's binary in `ADULIS_BIN`.
fn conformance() -> Result<()> {
    debian::ensure("curl", "curl")?;
    cargo(&["build", "--package", "adulis"])?;
    let folder = workspace::root().join("conformance");
    let python = Python::find()?;
    let environment = python.environment("conformance", &folder.join("requirements.txt"))?;
    let mut pytest = environment.python();
    if let Err(why) = perf_analyzer::provide(&python, &mut pytest) {
        pytest.env("ADULIS_PERF_ANALYZER_MISSING", format!("{why:#}"));
    }
    if let Err(why) = debian::ensure("promtool", "prometheus") {
        pytest.env("ADULIS_PROMTOOL_MISSING", format!("{why:#}"));
    }
    pytest.current_dir(workspace::root()).env("ADULIS_BIN", workspace::binary("debug")?);
    process::run(pytest.args(["-m", "pytest", "conformance"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for step in Step::value_variants() {
            let named = step.to_possible_value().unwrap();
            assert_eq!(step.name(), named.get_name());
        }
    }
}
