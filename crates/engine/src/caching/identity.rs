use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use adulis_cache::{FilesSeen, ModelDigest, ModelKeys};
use adulis_repository::{Fingerprint, ModelEntry};

use super::{LoadedModel, unique};
use crate::ensemble;
use crate::lifecycle::Lifecycle;
use crate::plan;
use crate::serving::{Served, ServingModel};

/// What a model version is to the keys of answers that it has a part in: its own, and those of ensembles.
///
/// To find that out, all its files are read. So that is done when somebody needs it, and at most once.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Where its files are, and what they looked like before the engine read them.
    files: PathBuf,
    before: Fingerprint,
    /// Whether it is one file, whose data may lie anywhere beside it.
    is_bare: bool,
    known: OnceLock<Result<Identified, Arc<str>>>,
}

/// What a model version turned out to be.
#[derive(Debug, Clone)]
pub(crate) struct Identified {
    pub(crate) keys: ModelKeys,
    /// An operator that makes its answers random.
    pub(crate) random: Option<&'static str>,
}

impl Identity {
    /// A version before its files are read by anybody.
    pub(crate) fn of(entry: &ModelEntry, path: &Path) -> Self {
        let (files, is_bare) = files_of(entry, path);
        let before = Fingerprint::of(&files);
        Self { files, before, is_bare, known: OnceLock::new() }
    }

    /// What it is, if somebody has found that out; why it cannot be, if its files cannot be read.
    pub(crate) fn known(&self) -> Option<Result<&Identified, &Arc<str>>> {
        self.known.get().map(Result::as_ref)
    }

    /// Finds out what it is. Blocking: its files are read.
    pub(crate) fn find(&self, digest: impl FnOnce() -> ModelDigest) -> Result<&Identified, &Arc<str>> {
        self.known.get_or_init(|| self.read(digest())).as_ref()
    }

    fn read(&self, mut digest: ModelDigest) -> Result<Identified, Arc<str>> {
        // Models of backends that read no files have none.
        let seen = match digest.files(&self.files) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.files.exists() => {
                FilesSeen::default()
            }
            Err(error) => {
                return Err(format!("the model's files cannot be read for its keys: {error}").into());
            }
            Ok(seen) => seen,
        };
        // What may have changed since the engine read it, or has parts elsewhere, is known to this load alone.
        if (self.is_bare && seen.external) || Fingerprint::of(&self.files) != self.before {
            digest.part("load", &unique());
        }
        Ok(Identified { keys: digest.finish(), random: seen.random })
    }
}

/// The folder of a version, or the model's only file.
pub(crate) fn files_of(entry: &ModelEntry, path: &Path) -> (PathBuf, bool) {
    if path.is_dir() {
        return (path.to_owned(), false);
    }
    let parent = path
        .parent()
        .filter(|parent| entry.directory.as_deref().is_some_and(|directory| parent.starts_with(directory)));
    parent.map_or_else(|| (path.to_owned(), true), |parent| (parent.to_owned(), false))
}

impl Lifecycle {
    /// Finds out what these models are; whether there was anything to find out. Blocking; for loader threads.
    pub(crate) fn identify(&self, models: &[Arc<ServingModel>]) -> bool {
        let unknown = models.iter().filter_map(|model| {
            let identity = model.served.identity.as_deref()?;
            identity.known().is_none().then_some((&*model.served, identity))
        });
        let found = unknown.map(|(served, identity)| {
            if let Err(reason) = identity.find(|| self.digest_of(served)) {
                tracing::warn!(model = %served.interface.model, %reason, "no ensemble of it is cached");
            }
        });
        found.count() > 0
    }

    /// Finds out what the models are that ensembles with a response cache are made of, as far as nobody has. Until then such an
    /// ensemble is answered without. Blocking; for loader threads.
    pub(crate) fn identify_steps(&self) {
        let unknown = self.table.with(ensemble::unidentified);
        if self.identify(&unknown) {
            self.table.touch();
        }
    }

    fn digest_of(&self, served: &Served) -> ModelDigest {
        let namespace = &self.settings.cache.namespace;
        LoadedModel {
            config: &served.config,
            version: served.version,
            backend: served.backend.unwrap_or_default(),
            reads_requests: false,
            options: &plan::engine_options(&served.config, &self.settings),
            interface: &served.interface,
        }
        .digest(namespace)
    }
}
