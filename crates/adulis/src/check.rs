//! `adulis check`: every problem of models and repositories; and `adulis serve --check-config`.

mod report;

use std::io::{self, Write};
use std::path::PathBuf;

use adulis_engine::{LoadError, check_supported};
use adulis_repository::{ModelEntry, Problem, Scan, scan};

use adulis_types::ModelRef;

use crate::cli::{CheckArgs, EXIT_FAILURE, EXIT_OK};
use crate::config::{Config, Loaded};
use crate::repositories::{self, Opener};
use crate::{Adulis, BuildError};
pub use report::{Finding, ModelReport, Report};

/// Looks through the paths and URLs, and has what was found loaded by the server that `server` puts together, where that is asked
/// for. Writes a report of each model, problem and note. Gives the exit code.
///
/// # Errors
/// If the server's threads cannot be started, or `out` cannot be written to.
pub fn check(
    args: &CheckArgs,
    config: &Config,
    server: impl FnOnce() -> Result<Adulis, BuildError>,
    out: &mut impl Write,
) -> io::Result<u8> {
    let found = look(&args.paths, config);
    let mut report = Report::of(&found);
    for problem in refused(&found) {
        report.add(&problem);
    }
    if args.load {
        match server() {
            Ok(server) => {
                for problem in not_loaded(&server, &found) {
                    report.add(&problem);
                }
            }
            // Paths without models: the scan has told them.
            Err(BuildError::Models(_)) => {}
            Err(BuildError::Threads(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    if args.json {
        report.write_json(out)?;
    } else {
        report.write(out)?;
    }
    Ok(if report.is_sound() { EXIT_OK } else { EXIT_FAILURE })
}

/// Looks through paths, and through what URLs lead to.
#[cfg_attr(
    not(feature = "object-storage"),
    expect(unused_variables, reason = "nothing else has settings here")
)]
fn look(paths: &[PathBuf], config: &Config) -> Scan {
    #[cfg(feature = "object-storage")]
    let opener = Opener::new(config.storage.options());
    #[cfg(not(feature = "object-storage"))]
    let opener = Opener::default();
    match repositories::open(paths, &opener) {
        Ok(repositories) if repositories.has_remote() => repositories.scan(),
        Ok(_) => scan(paths),
        Err(problems) => Scan { problems, ..Scan::default() },
    }
}

/// Loads all that was found, and gives what could not be. What the engine refuses is told already.
fn not_loaded(server: &Adulis, found: &Scan) -> Vec<Problem> {
    server.load();
    let supported = found.models.iter().filter(|entry| check_supported(&entry.config).is_ok());
    let versions = supported.flat_map(|entry| entry.versions.iter().map(move |version| (entry, version)));
    let problems = versions.filter_map(|(entry, version)| {
        let model = ModelRef { name: entry.name.as_str().into(), version: Some(version.version) };
        let fault = server.service().model_metadata(&model).err()?;
        let message = fault.client_message().into_owned();
        let known = format!("model '{}' is not ready: ", entry.name);
        let message = message.strip_prefix(&known).unwrap_or(&message).to_owned();
        let (path, model) = (version.path.clone(), Some(entry.name.clone()));
        Some(Problem { path, model, key: None, message, remedy: None })
    });
    problems.collect()
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
    let (urls, paths): (Vec<PathBuf>, Vec<PathBuf>) = loaded
        .config
        .repositories
        .iter()
        .cloned()
        .partition(|path| repositories::url_of(path).is_some());
    let found = scan(&paths);
    for note in repositories::faulty_urls(&urls) {
        writeln!(out, "note    {note}")?;
    }
    for note in found.problems.iter().chain(&found.empty) {
        writeln!(out, "note    {note}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
