use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::MODEL_FILE;
use super::folder::{Folder, link_fault, version_of};
use super::search::unreadable;
use crate::brought;
use crate::name::name_fault;
use crate::read::MAX_CONFIG_BYTES;
use crate::strict::KeyFault;
use crate::{ConfigFormat, ModelConfig, ModelEntry, ModelVersion, Problem, VersionPolicy};

/// Backends that read a model file; others may do with the folder.
const FILE_BACKENDS: [&str; 2] = ["onnxruntime", "tract"];

/// Whether models of this backend are files.
pub(crate) fn reads_file(backend: &str) -> bool {
    FILE_BACKENDS.contains(&backend)
}

/// What stands in place of a path where a configuration came with a request.
const REQUEST_CONFIG: &str = "config in the request";

/// Whether a path is named as a model file.
pub(super) fn is_model_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

/// The model folder and the version that a file named directly belongs to: `digits/2/model.onnx`, `digits/model.onnx`.
/// `None` where it stands for itself.
pub(super) fn home_of(path: &Path) -> Option<(&Path, u64)> {
    let parent = path.parent()?;
    let folder = parent.file_name()?.to_str()?;
    if let Some(version) = version_of(folder) {
        let model = parent.parent()?;
        model.file_name()?;
        return Some((model, version));
    }
    (path.file_name()? == MODEL_FILE).then_some((parent, 1))
}

/// The name of a model whose folder this is.
pub(super) fn name_of(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The name of a model that is one file.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) fn checked_name(name: &str, path: &Path) -> Result<(), Vec<Problem>> {
    match name_fault(name) {
        None => Ok(()),
        Some(fault) => {
            let problem = Problem::of_path(path, fault).of_model(name);
            Err(vec![problem.remedy("rename it")])
        }
    }
}

/// One model's folder, being looked through.
pub(super) struct ModelFolder<'a> {
    name: &'a str,
    path: &'a Path,
    root: &'a Path,
    /// A configuration in JSON that stands in for the folder's own.
    config: Option<&'a [u8]>,
    problems: Vec<Problem>,
    /// What is ignored and does no harm.
    pub(super) notes: Vec<Problem>,
}

impl<'a> ModelFolder<'a> {
    /// Links in `path` must not lead out of `root`.
    pub(super) fn new(name: &'a str, path: &'a Path, root: &'a Path) -> Self {
        Self { name, path, root, config: None, problems: Vec::new(), notes: Vec::new() }
    }

    /// The same with a configuration that stands in for the folder's own, if there is one.
    pub(super) fn configured(mut self, config: Option<&'a [u8]>) -> Self {
        self.config = config;
        self
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// The model, or all that is wrong with it. `only` is a version whose file was named directly.
    ///
    /// What a link out of the repository leads to is not looked into: nothing that lies there is told to anybody.
    pub(super) fn read(&mut self, only: Option<ModelVersion>) -> Result<ModelEntry, Vec<Problem>> {
        if !self.check_link(self.path) {
            return Err(std::mem::take(&mut self.problems));
        }
        let folder = match Folder::read(self.path) {
            Ok(folder) => folder,
            Err(error) => {
                self.report(unreadable(self.path, &error));
                return Err(std::mem::take(&mut self.problems));
            }
        };
        let config = match self.config {
            Some(json) => self.given_config(json),
            None => self.own_config(&folder),
        };
        let versions = match only {
            Some(version) => vec![version],
            None => self.versions(&folder, &config),
        };
        if self.problems.is_empty() {
            return Ok(ModelEntry {
                name: self.name.to_owned(),
                config,
                versions,
                directory: Some(self.path.to_owned()),
            });
        }
        Err(std::mem::take(&mut self.problems))
    }

    fn report(&mut self, problem: Problem) {
        self.problems.push(problem.of_model(self.name));
    }

    /// Reports a link that leads out of the repository; tells whether the path is sound.
    fn check_link(&mut self, path: &Path) -> bool {
        match link_fault(path, self.root) {
            None => true,
            Some(problem) => {
                self.report(problem);
                false
            }
        }
    }

    /// The configuration that stands in for the folder's own, or what is derived where it is at fault.
    fn given_config(&mut self, json: &[u8]) -> ModelConfig {
        match read_json(json, self.name, self.path) {
            Ok((config, notes)) => {
                self.notes.extend(notes);
                config
            }
            Err(problems) => {
                self.problems.extend(problems);
                ModelConfig::derived(self.name)
            }
        }
    }

    /// The configuration, or what is derived where there is none or it is at fault.
    fn own_config(&mut self, folder: &Folder) -> ModelConfig {
        let derived = ModelConfig::derived(self.name);
        let mut present = ConfigFormat::ALL.into_iter().filter(|format| folder.has(format.file_name()));
        let Some(format) = present.next() else {
            return derived;
        };
        let path = self.path.join(format.file_name());
        if let Some(other) = present.next() {
            let message = format!("there is a {} too", other.file_name());
            self.report(Problem::of_path(path, message).remedy("keep one of them"));
            return derived;
        }
        if !self.check_link(&path) {
            return derived;
        }
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) => {
                self.report(unreadable(&path, &error));
                return derived;
            }
        };
        match ModelConfig::read(format, &text, self.name, self.path) {
            Ok(read) => {
                let notes = read.notes.into_iter();
                self.notes.extend(notes.map(|note| Problem::of_key(&path, note).of_model(self.name)));
                read.config
            }
            Err(faults) => {
                for fault in faults {
                    self.report(Problem::of_key(&path, fault));
                }
                derived
            }
        }
    }

    /// The versions that the policy serves, each with its model file.
    fn versions(&mut self, folder: &Folder, config: &ModelConfig) -> Vec<ModelVersion> {
        let file = config.default_model_filename.as_deref().unwrap_or(MODEL_FILE);
        let present = folder.versions();
        if present.is_empty() {
            return self.unversioned(folder, config, file);
        }
        if folder.has(file) {
            let message = "is ignored: there are version folders beside it";
            let note = Problem::of_path(self.path.join(file), message);
            self.notes.push(note.of_model(self.name));
        }
        let chosen = self.chosen(&config.version_policy, &present);
        let versions = chosen.into_iter().filter_map(|version| {
            let path = self.path.join(version.to_string());
            let sound = self.check_link(&path);
            let path = sound.then(|| self.model_file(path, config, file)).flatten()?;
            Some(ModelVersion { version, path })
        });
        versions.collect()
    }

    /// The version 1 of a model without version folders.
    fn unversioned(&mut self, folder: &Folder, config: &ModelConfig, file: &str) -> Vec<ModelVersion> {
        if !folder.has(file) && needs_file(config) {
            // A configuration at fault may well name another file: one problem is enough.
            if self.problems.is_empty() {
                let message = format!("there is no version folder and no {file}");
                let remedy = format!("put the model into {}", Path::new("1").join(file).display());
                self.report(Problem::of_path(self.path, message).remedy(remedy));
            }
            return Vec::new();
        }
        let path = self.model_file(self.path.to_owned(), config, file);
        path.into_iter().map(|path| ModelVersion { version: 1, path }).collect()
    }

    fn chosen(&mut self, policy: &VersionPolicy, present: &[u64]) -> Vec<u64> {
        match policy {
            VersionPolicy::All => present.to_vec(),
            VersionPolicy::Latest(count) => present[present.len().saturating_sub(*count)..].to_vec(),
            VersionPolicy::Specific(wanted) => {
                let (there, missing): (Vec<u64>, Vec<u64>) =
                    wanted.iter().copied().partition(|version| present.contains(version));
                for version in missing {
                    let mut problem = Problem::of_path(
                        self.path,
                        format!("there is no version {version}, which it asks for"),
                    );
                    problem.key = Some("version_policy.specific".to_owned());
                    self.report(problem.remedy(format!("there are {}", list(present))));
                }
                there
            }
        }
    }

    /// The model file in a version's folder. A folder in its place holds the model, with what it needs beside it.
    fn model_file(&mut self, folder: PathBuf, config: &ModelConfig, file: &str) -> Option<PathBuf> {
        let mut path = folder.join(file);
        if path.is_dir() {
            if !self.check_link(&path) {
                return None;
            }
            path = path.join(MODEL_FILE);
        }
        if path.is_file() {
            return self.check_link(&path).then_some(path);
        }
        if !needs_file(config) {
            return Some(folder);
        }
        let problem = Problem::of_path(&path, "is not there");
        let other = Folder::read(&folder).ok();
        let remedy = match other.as_ref().and_then(Folder::only_model_file) {
            Some(other) => format!("rename {other}, or set default_model_filename = {other:?}"),
            None => "put the model there, or set default_model_filename".to_owned(),
        };
        self.report(problem.remedy(remedy));
        None
    }
}

/// A configuration that came with a request, with its notes, or all that is wrong with it.
pub(super) fn read_json(
    json: &[u8],
    name: &str,
    directory: &Path,
) -> Result<(ModelConfig, Vec<Problem>), Vec<Problem>> {
    let problem = |fault: KeyFault| Problem::of_key(REQUEST_CONFIG, fault).of_model(name);
    let read = ModelConfig::read_json(json, name, directory).and_then(|read| {
        let faults = brought::faults(&read.config);
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    });
    match read {
        Ok(read) => Ok((read.config, read.notes.into_iter().map(problem).collect())),
        Err(faults) => Err(faults.into_iter().map(problem).collect()),
    }
}

fn needs_file(config: &ModelConfig) -> bool {
    if config.scheduling.ensemble().is_some() {
        return false;
    }
    let by_backend = config.backend.as_deref().is_none_or(reads_file);
    by_backend || config.default_model_filename.is_some()
}

fn list(versions: &[u64]) -> String {
    let versions: Vec<String> = versions.iter().map(u64::to_string).collect();
    versions.join(", ")
}

fn read_bounded(path: &Path) -> io::Result<String> {
    #[cfg(test)]
    super::tests::opened();
    let mut text = String::new();
    let limit = u64::try_from(MAX_CONFIG_BYTES).map_err(io::Error::other)?;
    let read = File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if read > MAX_CONFIG_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}
