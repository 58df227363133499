//! What models there are: the paths that people name, looked through.

mod folder;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::{FailedModel, ModelConfig, ModelEntry, ModelVersion, Problem, Scan};
use folder::{Folder, Kind};
pub(crate) use model::reads_file;

/// The model file's name where nothing else is configured.
pub(crate) const MODEL_FILE: &str = "model.onnx";

/// What to do about a repository without models.
const EXPECTED_LAYOUT: &str = "expected MODEL/1/model.onnx, MODEL/model.onnx, MODEL with a config.pbtxt or model.toml, or \
                               loose *.onnx files in it";

/// Looks through model files, model folders and model repositories.
///
/// - A file `foo.onnx` is model `foo`, version 1. A file in a version's folder, `digits/2/model.onnx`, is that version of
///   model `digits`, and `digits/model.onnx` is model `digits`; both with the configuration of their folder.
/// - A folder that holds a configuration, version folders or a model file is one model, named as the folder.
/// - Any other folder is a repository: each of its folders is a model, and each loose `*.onnx` file too. Hidden ones are
///   skipped.
///
/// Finds everything that is wrong at once; a broken model is in [`Scan::failed`] and stops no other. A name that is there
/// twice fails in both places. A repository in which nothing looks like a model is in [`Scan::empty`]. Links that lead out of a repository are refused; what is named directly may be a link.
///
/// Cost: about five system calls per model.
#[must_use]
pub fn scan(paths: &[PathBuf]) -> Scan {
    let mut search = Search::default();
    for path in paths {
        search.path(path);
    }
    search.finish()
}

/// A model that was found, wherever it was.
struct Found {
    /// The model's folder or file, for messages.
    path: PathBuf,
    /// The model, or all that is wrong with it.
    outcome: Result<ModelEntry, Vec<Problem>>,
}

#[derive(Default)]
struct Search {
    found: BTreeMap<String, Vec<Found>>,
    seen: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
    empty: Vec<Problem>,
    notes: Vec<Problem>,
}

impl Search {
    fn path(&mut self, path: &Path) {
        let canonical = match path.canonicalize() {
            Ok(canonical) => canonical,
            Err(error) => {
                self.problems.push(unreadable(path, &error));
                return;
            }
        };
        if !self.seen.insert(canonical.clone()) {
            let note = Problem::of_path(path, "is named twice");
            self.notes.push(note);
        } else if canonical.is_dir() {
            self.folder(path, &canonical);
        } else {
            self.file(path, &canonical);
        }
    }

    /// A folder on the command line: one model, or a repository.
    fn folder(&mut self, path: &Path, canonical: &Path) {
        let folder = match Folder::read(path) {
            Ok(folder) => folder,
            Err(error) => {
                self.problems.push(unreadable(path, &error));
                return;
            }
        };
        if folder.is_model() {
            let name = canonical.file_name().map(|name| name.to_string_lossy().into_owned());
            self.model(name.unwrap_or_default(), path, canonical);
            return;
        }
        self.repository(path, canonical, &folder);
    }

    fn repository(&mut self, path: &Path, canonical: &Path, folder: &Folder) {
        let mut is_empty = true;
        for entry in &folder.entries {
            let inner = path.join(&entry.name);
            let Some(name) = entry.name.to_str() else {
                is_empty = false;
                self.problems.push(Problem::of_path(inner, "the name is not valid UTF-8"));
                continue;
            };
            match entry.kind {
                Kind::File if model::is_model_file(&inner) => {
                    is_empty = false;
                    self.loose_file(&inner, canonical);
                }
                Kind::Folder => match Folder::read(&inner) {
                    Ok(folder) if folder.holds_nothing() => {
                        let message = "holds no model: no version folder, no model.onnx and no configuration";
                        self.notes.push(Problem::of_path(inner, message));
                    }
                    _ => {
                        is_empty = false;
                        self.model(name.to_owned(), &inner, canonical);
                    }
                },
                Kind::File | Kind::Other => {}
            }
        }
        if is_empty {
            self.empty
                .push(Problem::of_path(path, "no model was found in this folder").remedy(EXPECTED_LAYOUT));
        }
    }

    /// One model's folder. Links must not lead out of `root`.
    fn model(&mut self, name: String, path: &Path, root: &Path) {
        let mut model = model::ModelFolder::new(&name, path, root);
        let outcome = model.read(None);
        self.notes.append(&mut model.notes);
        self.put(name, path, outcome);
    }

    /// A model file in a repository, without a folder of its own.
    fn loose_file(&mut self, path: &Path, root: &Path) {
        let name = stem(path);
        let outcome = match folder::link_fault(path, root) {
            Some(problem) => Err(vec![problem.of_model(name.as_str())]),
            None => Ok(single_file(&name, path)),
        };
        self.put(name, path, outcome);
    }

    /// A file on the command line.
    fn file(&mut self, path: &Path, canonical: &Path) {
        if !model::is_model_file(path) {
            let problem = Problem::of_path(path, "is not a model: expected a folder or a file named *.onnx");
            self.problems.push(problem);
            return;
        }
        let Some((directory, version)) = model::home_of(path) else {
            let name = stem(path);
            self.put(name.clone(), path, Ok(single_file(&name, path)));
            return;
        };
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        // Named directly: the file may be a link to anywhere, so nothing is checked against a root.
        let root = canonical.ancestors().last().unwrap_or(canonical);
        let mut model = model::ModelFolder::new(&name, directory, root);
        let outcome = model.read(Some(ModelVersion { version, path: path.to_owned() }));
        self.notes.append(&mut model.notes);
        self.put(name, path, outcome);
    }

    fn put(&mut self, name: String, path: &Path, outcome: Result<ModelEntry, Vec<Problem>>) {
        let found = Found { path: path.to_owned(), outcome: model::checked_name(&name, path).and(outcome) };
        self.found.entry(name).or_default().push(found);
    }

    fn finish(self) -> Scan {
        let Self { found, problems, empty, notes, .. } = self;
        let mut scan = Scan { problems, empty, notes, ..Scan::default() };
        for (name, mut found) in found {
            if found.len() > 1 {
                let problems = duplicates(&name, found);
                scan.failed.push(FailedModel { name, problems });
                continue;
            }
            match found.pop().map(|found| found.outcome) {
                Some(Ok(entry)) => scan.models.push(entry),
                Some(Err(problems)) => scan.failed.push(FailedModel { name, problems }),
                None => {}
            }
        }
        scan
    }
}

/// One problem for each place that has the name, naming the others, and what else is wrong there.
fn duplicates(name: &str, found: Vec<Found>) -> Vec<Problem> {
    let paths: Vec<PathBuf> = found.iter().map(|found| found.path.clone()).collect();
    let mut problems = Vec::new();
    for found in found {
        let others = paths.iter().filter(|path| **path != found.path);
        let others: Vec<String> = others.map(|path| path.display().to_string()).collect();
        let message = format!("another model has the name {name:?} too: {}", others.join(", "));
        let problem = Problem::of_path(found.path, message).of_model(name);
        problems.push(problem.remedy("rename one of them, or leave it out"));
        problems.extend(found.outcome.err().into_iter().flatten());
    }
    problems
}

fn single_file(name: &str, path: &Path) -> ModelEntry {
    ModelEntry {
        name: name.to_owned(),
        config: ModelConfig::derived(name),
        versions: vec![ModelVersion { version: 1, path: path.to_owned() }],
        directory: None,
    }
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::NotFound => Problem::of_path(path, "is not there"),
        _ => Problem::of_path(path, format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests;
