use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{ConfigFormat, Fingerprint, ModelConfig, Problem};

/// A model that can be loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEntry {
    /// Its name.
    pub name: String,
    /// How it is to be served.
    pub config: ModelConfig,
    /// The versions to serve, by the version policy, ascending. Never empty.
    pub versions: Vec<ModelVersion>,
    /// The model's folder; `None` for a model file named by itself.
    pub directory: Option<PathBuf>,
}

impl ModelEntry {
    /// The file that its configuration was read from, as far as its folder still tells, or the folder itself; empty for a
    /// model that has no folder.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        let folder = self.directory.clone().unwrap_or_default();
        let files = ConfigFormat::ALL.map(|format| folder.join(format.file_name()));
        files.into_iter().find(|file| file.is_file()).unwrap_or(folder)
    }
}

/// One version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    /// Its number, at least 1.
    pub version: u64,
    /// The model file or folder.
    pub path: PathBuf,
}

/// A model that is there and cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedModel {
    /// Its name.
    pub name: String,
    /// All that is wrong with it. Never empty.
    pub problems: Vec<Problem>,
}

/// What was found. A name is in `models` or in `failed`, once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scan {
    /// Models that can be loaded, by name.
    pub models: Vec<ModelEntry>,
    /// Models that cannot, by name: they must be told as not ready, with the reason.
    pub failed: Vec<FailedModel>,
    /// Problems of no one model, such as a path that is not there.
    pub problems: Vec<Problem>,
    /// Repositories in which nothing looks like a model, with the layout that was expected: no error, and hardly meant.
    pub empty: Vec<Problem>,
    /// What was ignored and stops nothing: worth a line in the log.
    pub notes: Vec<Problem>,
    /// What each model's files looked like before they were read, by name, of sound and broken ones alike. Empty where
    /// nobody asked for it.
    pub fingerprints: BTreeMap<String, Fingerprint>,
}

impl Scan {
    /// The model of this name, or all that is wrong with it; `None` where it was not found.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<Result<&ModelEntry, &[Problem]>> {
        let sound = self.models.iter().find(|entry| entry.name == name).map(Ok);
        sound.or_else(|| {
            let failed = self.failed.iter().find(|failed| failed.name == name)?;
            Some(Err(failed.problems.as_slice()))
        })
    }

    /// Everything that is wrong: of no one model first, then by model.
    pub fn all_problems(&self) -> impl Iterator<Item = &Problem> {
        let of_models = self.failed.iter().flat_map(|failed| &failed.problems);
        self.problems.iter().chain(of_models)
    }
}
