use std::path::Path;
use std::sync::Arc;

use adulis_repository::{Fingerprint, ModelEntry, ModelVersion, Scan, VersionFingerprint};

use crate::overrides::OverrideFolder;
use crate::serving::Served;

/// A model that is to be loaded.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    pub(crate) entry: ModelEntry,
    /// What its files looked like before they were read; `None` where nobody will compare.
    fingerprint: Option<Fingerprint>,
    /// Its files, where they came with the request.
    pub(crate) files: Option<Arc<OverrideFolder>>,
    /// Whether it is wanted for itself, and not only for an ensemble.
    pub(crate) asked: bool,
}

impl Source {
    /// A model of which nothing is known but its entry.
    pub(crate) fn new(entry: ModelEntry) -> Self {
        Self {
            name: entry.name.as_str().into(),
            entry,
            fingerprint: None,
            files: None,
            asked: true,
        }
    }

    /// A model that was found in the repositories.
    pub(crate) fn found(entry: &ModelEntry, scan: &Scan) -> Self {
        let fingerprint = scan.fingerprints.get(&entry.name).cloned();
        Self { fingerprint, ..Self::new(entry.clone()) }
    }

    /// Whether it is made of other models.
    pub(crate) fn is_ensemble(&self) -> bool {
        self.entry.config.scheduling.ensemble().is_some()
    }

    /// The same, wanted for itself or only for an ensemble.
    pub(crate) fn asked(mut self, asked: bool) -> Self {
        self.asked = asked;
        self
    }

    /// The same with the files that it came with, if it did.
    pub(crate) fn with_files(mut self, files: Option<Arc<OverrideFolder>>) -> Self {
        self.files = files;
        self
    }

    /// The folder in which the model's folder or file lies, as it was named.
    pub(crate) fn repository(&self) -> &Path {
        let file = || self.entry.versions.first().map(|version: &ModelVersion| version.path.as_path());
        let model = self.entry.directory.as_deref().or_else(file);
        model.and_then(Path::parent).unwrap_or(Path::new(""))
    }

    pub(crate) fn fingerprint(&self, version: u64) -> Option<VersionFingerprint> {
        self.fingerprint.as_ref().map(|fingerprint| fingerprint.version(version))
    }

    /// Whether what serves a version was loaded from files that look as they do now.
    pub(crate) fn is_served_by(&self, served: &Served) -> bool {
        let print = self.fingerprint(served.version);
        print.is_some() && print == served.fingerprint
    }
}
