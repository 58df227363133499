//! The table at the end.

use std::fmt::Write;
use std::time::Duration;

use super::step::{Step, Verdict};

/// One step in the table.
pub(super) struct Row {
    step: Step,
    outcome: Outcome,
    took: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// Optional, and this machine can't.
    NotRun,
    /// Left out by a flag.
    Skipped,
    /// An earlier step failed, with `--fail-fast`.
    NotReached,
}

impl Row {
    /// A step that ran, or tried to.
    pub(super) fn ran(step: Step, verdict: &Verdict, took: Duration) -> Self {
        let outcome = match verdict {
            Verdict::Passed => Outcome::Passed,
            Verdict::Failed(_) => Outcome::Failed,
            Verdict::NotRun(_) => Outcome::NotRun,
        };
        Self { step, outcome, took }
    }

    /// A step that was not tried.
    pub(super) fn left_out(step: Step, stopped: bool) -> Self {
        let outcome = if stopped { Outcome::NotReached } else { Outcome::Skipped };
        Self { step, outcome, took: Duration::ZERO }
    }

    /// True if it makes the whole command fail.
    pub(super) fn is_failure(&self) -> bool {
        self.outcome == Outcome::Failed
    }

    /// True if this machine can't run the step, which by itself does not make the command fail.
    pub(super) fn is_not_run(&self) -> bool {
        self.outcome == Outcome::NotRun
    }

    /// The step's name.
    pub(super) fn name(&self) -> &'static str {
        self.step.name()
    }
}

/// Steps, outcomes and times, one line each.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let outcome = match row.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "NOT RUN: impossible here",
            Outcome::Skipped => "left out by a flag",
            Outcome::NotReached => "not reached",
        };
        let seconds = row.took.as_secs_f64();
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:<12} {seconds:>7.1} s  {outcome}", row.name());
    }
    text
}

/// The words under the table, which say what to do next.
pub(super) fn verdict(rows: &[Row]) -> String {
    let names = |which: fn(&Row) -> bool| {
        let names: Vec<&str> = rows.iter().filter(|row| which(row)).map(Row::name).collect();
        names.join(",")
    };
    let (failed, not_run) = (names(Row::is_failure), names(Row::is_not_run));
    let mut text = String::new();
    if !not_run.is_empty() {
        let again = format!("cargo xtask test --only {not_run}");
        text.push_str(&format!(
            "\nnot run, so nothing is known of what it checks; where it can run: {again}\n"
        ));
    }
    if !failed.is_empty() {
        text.push_str(&format!("\nfailed; to run only this again: cargo xtask test --only {failed}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn every_step_has_a_line_with_time_and_outcome() {
        let rows = [
            Row::ran(Step::Fmt, &Verdict::Passed, Duration::from_millis(1500)),
            Row::ran(Step::Clippy, &Verdict::Failed(anyhow!("x")), Duration::from_secs(61)),
            Row::ran(Step::Advisories, &Verdict::NotRun(anyhow!("x")), Duration::from_secs(1)),
            Row::left_out(Step::Test, false),
            Row::left_out(Step::Doctest, true),
        ];
        let expected = "\
fmt              1.5 s  ok
clippy          61.0 s  FAILED
advisories       1.0 s  NOT RUN: impossible here
test             0.0 s  left out by a flag
doctest          0.0 s  not reached
";
        assert_eq!(table(&rows), expected);
        let failures: Vec<bool> = rows.iter().map(Row::is_failure).collect();
        assert_eq!(failures, [false, true, false, false, false]);
        let expected = "
not run, so nothing is known of what it checks; where it can run: cargo xtask test --only advisories

failed; to run only this again: cargo xtask test --only clippy
";
        assert_eq!(verdict(&rows), expected);
        assert_eq!(verdict(&rows[..1]), "");
    }
}
