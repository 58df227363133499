//! `adulis check`: every problem of models and repositories; and `adulis serve --check-config`.

mod report;

use std::io::{self, Write};

use adulis_engine::{LoadError, check_supported};
use adulis_repository::{ModelEntry, Problem, Scan, scan};

use crate::cli::{CheckArgs, EXIT_FAILURE, EXIT_OK};
use crate::config::Loaded;
pub use report::{Finding, ModelReport, Report};

/// Looks through the paths and writes a report of each model, problem and note. Gives the exit code.
///
/// # Errors
/// If `out` cannot be written to.
pub fn check(args: &CheckArgs, out: &mut impl Write) -> io::Result<u8> {
    let found = scan(&args.paths);
    let mut report = Report::of(&found);
    for problem in refused(&found) {
        report.add(&problem);
    }
    if args.json {
        report.write_json(out)?;
    } else {
        report.write(out)?;
    }
    Ok(if report.is_sound() { EXIT_OK } else { EXIT_FAILURE })
}

/// What models ask for that the engine cannot do.
fn refused(found: &Scan) -> impl Iterator<Item = Problem> {
    let refused = |entry: &ModelEntry| {
        let error = check_supported(&entry.config).err()?;
        let (key, message) = match error {
            LoadError::Configuration { key, reason } => (Some(key), reason),
            other => (None, other.to_string()),
        };
        let model = Some(entry.name.clone());
        Some(Problem { path: entry.config_file(), model, key, message, remedy: None })
    };
    found.models.iter().filter_map(refused)
}

/// Writes that a configuration is sound, and a note for what is odd about it: variables that look misspelt, paths that are
/// not there and repositories without a model, both of which may look different where the server will run.
///
/// # Errors
/// If `out` cannot be written to.
pub fn check_config(loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "OK")?;
    for note in &loaded.notes {
        writeln!(out, "note    {note}")?;
    }
    let found = scan(&loaded.config.repositories);
    for note in found.problems.iter().chain(&found.empty) {
        writeln!(out, "note    {note}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
