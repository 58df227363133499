use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{self, Folder, Kind};
use super::model::{self, ModelFolder};
use crate::{FailedModel, Fingerprint, ModelConfig, ModelEntry, ModelVersion, Problem, Scan};

/// What to do about a repository without models.
const EXPECTED_LAYOUT: &str = "expected MODEL/1/model.onnx, MODEL/model.onnx, MODEL with a config.pbtxt or model.toml, or \
                               loose *.onnx files in it";

/// What is looked for, and how closely.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// Only the models of these names.
    pub(super) names: Option<&'a [&'a str]>,
    /// A configuration in Triton's JSON form that stands in for the models' own.
    pub(super) config: Option<&'a [u8]>,
    /// Whether fingerprints are taken, each before its model is read.
    pub(super) fingerprints: bool,
}

/// A model that was found, wherever it was.
struct Found {
    /// The model's folder or file, for messages.
    path: PathBuf,
    fingerprint: Option<Fingerprint>,
    /// The model, or all that is wrong with it.
    outcome: Result<ModelEntry, Vec<Problem>>,
}

/// A look through paths, one after the other.
pub(super) struct Search<'a> {
    wanted: Wanted<'a>,
    found: BTreeMap<String, Vec<Found>>,
    seen: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
    empty: Vec<Problem>,
    notes: Vec<Problem>,
    /// Whether what is looked through is the mirror of a repository elsewhere.
    mirrored: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(wanted: Wanted<'a>) -> Self {
        Self {
            wanted,
            found: BTreeMap::new(),
            seen: BTreeSet::new(),
            problems: Vec::new(),
            empty: Vec::new(),
            notes: Vec::new(),
            mirrored: false,
        }
    }

    /// Takes in that a repository cannot be read.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Takes in what was left out of a repository's mirror.
    pub(super) fn notes(&mut self, notes: Vec<Problem>) {
        self.notes.extend(notes);
    }

    /// The folder in which a repository is mirrored. Fetched for some names only, it may well be empty.
    pub(super) fn mirror(&mut self, folder: &Path) {
        let empty = self.empty.len();
        self.mirrored = true;
        self.path(folder);
        self.mirrored = false;
        if self.wanted.names.is_some() {
            self.empty.truncate(empty);
        }
    }

    pub(super) fn path(&mut self, path: &Path) {
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
            self.model(&model::name_of(canonical), path, canonical);
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
                // Only what is looked for is looked into.
                Kind::Folder if !self.wants(name) => is_empty = false,
                Kind::Folder => match Folder::read(&inner) {
                    Ok(folder) if folder.holds_nothing() => {
                        let message = "holds no model: no version folder, no model.onnx and no configuration";
                        self.notes.push(Problem::of_path(inner, message));
                    }
                    _ => {
                        is_empty = false;
                        self.model(name, &inner, canonical);
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

    fn wants(&self, name: &str) -> bool {
        self.wanted.names.is_none_or(|wanted| wanted.contains(&name))
    }

    fn fingerprint(&self, path: &Path) -> Option<Fingerprint> {
        let look = if self.mirrored { Fingerprint::of_mirrored } else { Fingerprint::of };
        self.wanted.fingerprints.then(|| look(path))
    }

    /// One model's folder. Links must not lead out of `root`.
    fn model(&mut self, name: &str, path: &Path, root: &Path) {
        self.model_folder(name, path, ModelFolder::new(name, path, root), None);
    }

    /// `path` is what the model was found by: its folder, or the file of the version that is `only` wanted.
    fn model_folder(&mut self, name: &str, path: &Path, folder: ModelFolder<'_>, only: Option<ModelVersion>) {
        if !self.wants(name) {
            return;
        }
        let fingerprint = self.fingerprint(folder.path());
        let mut folder = folder.configured(self.wanted.config);
        let outcome = folder.read(only);
        self.notes.append(&mut folder.notes);
        self.put(name, Found { path: path.to_owned(), fingerprint, outcome });
    }

    /// A model file without a folder of its own. Links must not lead out of `root`, where there is one.
    fn single_file(&mut self, path: &Path, root: Option<&Path>) {
        let name = model::stem(path);
        if !self.wants(&name) {
            return;
        }
        let fingerprint = self.fingerprint(path);
        let outcome = match root.and_then(|root| folder::link_fault(path, root)) {
            Some(problem) => Err(vec![problem.of_model(name.as_str())]),
            None => self.file_config(&name, path).map(|config| ModelEntry {
                config,
                versions: vec![ModelVersion { version: 1, path: path.to_owned() }],
                directory: None,
                name: name.clone(),
            }),
        };
        self.put(&name, Found { path: path.to_owned(), fingerprint, outcome });
    }

    /// The configuration of a model file without a folder of its own.
    fn file_config(&mut self, name: &str, path: &Path) -> Result<ModelConfig, Vec<Problem>> {
        let Some(json) = self.wanted.config else {
            return Ok(ModelConfig::derived(name));
        };
        let read = model::read_json(json, name, path.parent().unwrap_or(path))?;
        self.notes.extend(read.1);
        Ok(read.0)
    }

    /// A model file in a repository.
    fn loose_file(&mut self, path: &Path, root: &Path) {
        self.single_file(path, Some(root));
    }

    /// A file on the command line.
    fn file(&mut self, path: &Path, canonical: &Path) {
        if !model::is_model_file(path) {
            let problem = Problem::of_path(path, "is not a model: expected a folder or a file named *.onnx");
            self.problems.push(problem);
            return;
        }
        let Some((directory, version)) = model::home_of(path) else {
            self.single_file(path, None);
            return;
        };
        let name = model::name_of(directory);
        // Named directly: the file may be a link to anywhere, so nothing is checked against a root.
        let root = canonical.ancestors().last().unwrap_or(canonical);
        let only = ModelVersion { version, path: path.to_owned() };
        self.model_folder(&name, path, ModelFolder::new(&name, directory, root), Some(only));
    }

    fn put(&mut self, name: &str, mut found: Found) {
        let earlier = self.found.entry(name.to_owned()).or_default();
        let same = |other: &Found| match (other.path.canonicalize(), found.path.canonicalize()) {
            (Ok(other), Ok(found)) => other == found,
            _ => false,
        };
        if earlier.iter().any(same) {
            self.notes.push(Problem::of_path(found.path, "is named twice").of_model(name));
            return;
        }
        found.outcome = model::checked_name(name, &found.path).and(found.outcome);
        earlier.push(found);
    }

    pub(super) fn finish(self) -> Scan {
        let Self { found, problems, empty, notes, .. } = self;
        let mut scan = Scan { problems, empty, notes, ..Scan::default() };
        for (name, mut found) in found {
            let prints = found.iter_mut().filter_map(|found| found.fingerprint.take());
            if let Some(print) = prints.reduce(|one, other| one.joined(&other)) {
                scan.fingerprints.insert(name.clone(), print);
            }
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

/// A file or folder that could not be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::NotFound => Problem::of_path(path, "is not there"),
        _ => Problem::of_path(path, format!("cannot be read: {error}")),
    }
}
