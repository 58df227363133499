//! `cargo xtask tidy`: the rules of the house that no other tool knows.
//!
//! Each rule is a function from what it looks at to the faults it found, in a module of its own, with a test that
//! shows it failing. The workspace's own test (`the_workspace_is_tidy`) runs them all.

mod docs;
mod evidence;
mod layers;
mod manifest;
mod source;
mod text;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{process, workspace};

/// Checks the whole checkout and prints what is wrong.
///
/// # Errors
/// The checkout can't be read.
pub(crate) fn run() -> Result<ExitCode> {
    let faults = faults()?;
    for fault in &faults {
        eprintln!("{fault}");
    }
    if faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\ntidy: {} faults", faults.len());
    Ok(ExitCode::FAILURE)
}

/// Every fault in the checkout, by path.
///
/// # Errors
/// Git or Cargo can't list what there is to check.
pub(crate) fn faults() -> Result<Vec<Fault>> {
    let root = workspace::root();
    let files = files(&root)?;
    let mut faults = layers::check(&layers::Graph::read()?);
    faults.extend(manifest::check(&files));
    faults.extend(docs::check(&root, &files));
    faults.extend(evidence::check(&files));
    for file in &files {
        faults.extend(source::check(file));
        faults.extend(text::check(file));
    }
    faults.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(faults)
}

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    path: String,
    /// Counted from 1; none when the fault is the file's or its absence.
    line: Option<usize>,
    message: String,
}

impl Fault {
    fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    /// `index` counts from 0, as iterators do.
    fn at(path: &str, index: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(index + 1), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// A text file of the checkout.
pub(crate) struct SourceFile {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl SourceFile {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// The text files that Git tracks or would track.
fn files(root: &Path) -> Result<Vec<SourceFile>> {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = process::capture(&mut git).context("tidy asks git which files belong to the repository")?;
    let paths = listed.split_terminator('\0');
    // What is deleted but still in the index, and what is not text, has no lines to check.
    let read = |path: &str| {
        let text = fs::read_to_string(root.join(path)).ok()?;
        Some(SourceFile { path: path.to_owned(), text })
    };
    Ok(paths.filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let faults = faults().unwrap();
        let listed = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
        assert!(faults.is_empty(), "{listed}");
    }

    #[test]
    fn the_listing_sees_this_file() {
        let files = files(&workspace::root()).unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy.rs" && !file.text.is_empty()));
    }
}
