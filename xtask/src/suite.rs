//! `cargo xtask test`: every check and every test, one after the other, and a table of how they went.

mod step;
mod summary;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};

use step::{Step, Verdict};
use summary::Row;

/// Flags of `test`.
#[derive(Args)]
pub(crate) struct SuiteArgs {
    /// Run these steps only (repeat it, or separate them by commas).
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STEP")]
    only: Vec<Step>,
    /// Leave these steps out.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "STEP",
        conflicts_with = "only"
    )]
    skip: Vec<Step>,
    /// Stop at the first step that fails.
    #[arg(long)]
    fail_fast: bool,
}

impl SuiteArgs {
    fn wants(&self, step: Step) -> bool {
        (self.only.is_empty() || self.only.contains(&step)) && !self.skip.contains(&step)
    }
}

/// Runs the steps and prints the table; fails if one step failed.
pub(crate) fn run(args: &SuiteArgs) -> Result<ExitCode> {
    let mut rows = Vec::new();
    let mut stopped = false;
    for &step in Step::value_variants() {
        if stopped || !args.wants(step) {
            rows.push(Row::left_out(step, stopped));
            continue;
        }
        eprintln!("\n── {} ──", step.name());
        let started = Instant::now();
        let verdict = step.run();
        if let Verdict::Failed(why) | Verdict::NotRun(why) = &verdict {
            eprintln!("{}: {why:#}", step.name());
        }
        let row = Row::ran(step, &verdict, started.elapsed());
        stopped = args.fail_fast && row.is_failure();
        rows.push(row);
    }
    eprint!("\n{}{}", summary::table(&rows), summary::verdict(&rows));
    let failed = rows.iter().any(Row::is_failure);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(only: &[Step], skip: &[Step]) -> SuiteArgs {
        SuiteArgs { only: only.to_vec(), skip: skip.to_vec(), fail_fast: false }
    }

    #[test]
    fn only_and_skip_choose_the_steps() {
        assert!(args(&[], &[]).wants(Step::Clippy));
        assert!(args(&[Step::Clippy], &[]).wants(Step::Clippy));
        assert!(!args(&[Step::Clippy], &[]).wants(Step::Fmt));
        assert!(!args(&[], &[Step::Clippy]).wants(Step::Clippy));
    }
}
