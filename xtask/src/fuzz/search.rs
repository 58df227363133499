//! The long form: cargo-fuzz on each target for a while, from the committed seeds and what earlier runs have found.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::tools::Tool;
use crate::{process, workspace};

const CARGO_FUZZ: Tool = Tool { name: "fuzz", version: "0.13.2" };

/// Longest input, in bytes.
const MAX_LENGTH: u32 = 64 << 10;
/// An input that takes longer is a fault.
const TIMEOUT_SECONDS: u32 = 10;

/// Flags of `fuzz`.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// The targets to run, by the names of their files in `fuzz/fuzz_targets`; none: all.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each of them runs, without its build.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u64,
    /// What watches memory beside it.
    #[arg(long, value_enum, default_value_t = Sanitizer::Address)]
    sanitizer: Sanitizer,
}

/// What cargo-fuzz can build with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sanitizer {
    /// AddressSanitizer.
    Address,
    /// Nothing.
    None,
}

/// How a target went.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    executions: u64,
    /// Inputs that reached something new.
    added: u64,
    /// Edges of the code that were reached.
    coverage: u64,
    is_sound: bool,
}

/// Runs the targets one after the other and prints a table; fails if one found something.
///
/// # Errors
/// cargo-fuzz cannot be had, or a target of this name does not exist.
pub(crate) fn run(args: &FuzzArgs) -> Result<ExitCode> {
    let all = targets()?;
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(*name)) {
        bail!(
            "there is no target {unknown}: there are {}",
            all.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    let chosen: Vec<&String> =
        all.iter().filter(|name| args.targets.is_empty() || args.targets.contains(name)).collect();
    let mut table = String::from(
        "| target | executions | per second | edges | new inputs | |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let mut is_sound = true;
    // What does not build has not been searched.
    for name in &chosen {
        process::run(cargo_fuzz("build", args)?.arg(name))
            .with_context(|| format!("{name} does not build"))?;
    }
    for name in chosen {
        eprintln!("\n── {name} ──");
        let begun = Instant::now();
        let outcome = search(name, args)?;
        is_sound &= outcome.is_sound;
        row(&mut table, name, &outcome, begun.elapsed().min(Duration::from_secs(args.seconds)))?;
    }
    eprint!("\n{table}");
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(table: &mut String, name: &str, outcome: &Outcome, time: Duration) -> Result<()> {
    let Outcome { executions, added, coverage, is_sound } = outcome;
    let rate = executions / time.as_secs().max(1);
    let told = if *is_sound { "nothing found" } else { "FOUND something: see above" };
    writeln!(table, "| `{name}` | {executions} | {rate} | {coverage} | {added} | {told} |")?;
    Ok(())
}

/// The targets' names.
pub(super) fn targets() -> Result<BTreeSet<String>> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let name =
        |file: std::io::Result<fs::DirEntry>| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned());
    Ok(files.filter_map(name).collect())
}

/// A command of cargo-fuzz, without the target that it is about.
fn cargo_fuzz(verb: &str, args: &FuzzArgs) -> Result<Command> {
    let mut command = CARGO_FUZZ.command()?;
    let sanitizer = match args.sanitizer {
        Sanitizer::Address => "address",
        Sanitizer::None => "none",
    };
    command.args([verb, "--sanitizer", sanitizer, "--target-dir"]);
    command.arg(workspace::target()?.join("fuzz"));
    // The flags that the fuzzer is built with are unstable ones, of any toolchain.
    command.env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}

fn search(name: &str, args: &FuzzArgs) -> Result<Outcome> {
    let fuzz = workspace::root().join("fuzz");
    let corpus = fuzz.join("corpus").join(name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = cargo_fuzz("run", args)?;
    // What is found goes into the first folder.
    command.arg(name).arg(&corpus).arg(fuzz.join("seeds").join(name));
    command.args([
        "--",
        "-print_final_stats=1",
        &format!("-max_total_time={}", args.seconds),
    ]);
    command.args([
        format!("-max_len={MAX_LENGTH}"),
        format!("-timeout={TIMEOUT_SECONDS}"),
    ]);
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot start cargo-fuzz")?;
    let mut outcome = Outcome::default();
    let stderr = child.stderr.take().context("cargo-fuzz has no output")?;
    for line in BufReader::new(stderr).lines() {
        let line = line.context("cannot read what cargo-fuzz says")?;
        outcome.note(&line);
        // Each input that reaches something new has such a line.
        if !line.starts_with('#') {
            eprintln!("{line}");
        }
    }
    outcome.is_sound = child.wait().context("cargo-fuzz is gone")?.success();
    Ok(outcome)
}

impl Outcome {
    /// Takes what a line of libFuzzer's says.
    fn note(&mut self, line: &str) {
        let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok());
        let after = |mark: &str| number(line.split_once(mark)?.1);
        if let Some(executions) = after("stat::number_of_executed_units:") {
            self.executions = executions;
        } else if let Some(added) = after("stat::new_units_added:") {
            self.added = added;
        } else if let Some(coverage) = after(" cov: ").filter(|_| line.starts_with('#')) {
            self.coverage = coverage;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fuzzer_says_is_counted() {
        let mut outcome = Outcome::default();
        for line in [
            "#4096\tNEW    cov: 1200 ft: 3000 corp: 20/3Kb lim: 64 exec/s: 0 rss: 40Mb L: 32/64 MS: 1 ChangeBit-",
            "#9999\tDONE   cov: 1234 ft: 3456 corp: 30/4Kb lim: 64 exec/s: 900 rss: 41Mb",
            "cov: 7 is said of something else",
            "stat::number_of_executed_units: 9999",
            "stat::average_exec_per_sec:     900",
            "stat::new_units_added:          12",
        ] {
            outcome.note(line);
        }
        assert_eq!(outcome, Outcome { executions: 9999, added: 12, coverage: 1234, is_sound: false });
        let mut table = String::new();
        row(&mut table, "x", &outcome, Duration::from_secs(10)).unwrap();
        assert_eq!(table, "| `x` | 9999 | 999 | 1234 | 12 | FOUND something: see above |\n");
    }

    #[test]
    fn the_targets_are_found() {
        assert!(targets().unwrap().contains("rest_decode"));
    }
}
