//! Programs that tasks run.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How many of the last lines of a failed program's output its error repeats.
const LINES_SHOWN: usize = 25;

/// Runs a program whose output goes to ours.
///
/// # Errors
/// It can't be started, or doesn't end with success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a program and returns what it wrote to standard output.
///
/// # Errors
/// It can't be started, or doesn't end with success: the error then carries the end of its output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let told = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    bail!("{} ended with {}\n{}", shown(command), output.status, last_lines(&told));
}

/// Runs a program behind a spinner, and a line of text where there is no terminal.
///
/// # Errors
/// As [`capture`].
pub(crate) fn capture_with_progress(command: &mut Command, doing: &str) -> Result<String> {
    let spinner = ProgressBar::new_spinner().with_message(doing.to_owned());
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
    if spinner.is_hidden() {
        eprintln!("{doing} …");
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    let result = capture(command);
    spinner.finish_and_clear();
    result
}

/// True if a program can be started and ends with success; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// As many of the last lines as an error repeats.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_repeats_the_end_of_the_output() {
        let error =
            capture(Command::new("sh").args(["-c", "seq 1 100; echo broken >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("\n100\nbroken"), "{text}");
        assert!(!text.contains("\n50\n"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("adulis-no-such-program")).unwrap_err();
        assert!(error.to_string().contains("adulis-no-such-program"));
        assert!(!succeeds(&mut Command::new("adulis-no-such-program")));
    }
}
