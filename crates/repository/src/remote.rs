use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::scan::{MODEL_FILE, version_of};
use crate::{ConfigFormat, Problem};

/// A model repository that lies elsewhere, with a folder on this machine that mirrors it.
///
/// What is mirrored is brought up to date when it is asked for and never by itself. All calls block.
///
/// A model's part of the folder changes in [`RemoteRepository::mirror`] only, and only if that model is asked for: whoever asks
/// sees to it that nobody reads the model meanwhile.
pub trait RemoteRepository: fmt::Debug + Send + Sync {
    /// Where it lies, as people wrote it. Holds no secret.
    fn url(&self) -> &str;

    /// The folder that mirrors it. It is there, and may be empty.
    fn folder(&self) -> &Path;

    /// The names of all that may be a model, as the repository has them now. Nothing is fetched.
    ///
    /// # Errors
    /// Why the repository cannot be read.
    fn list(&self) -> Result<BTreeSet<String>, Problem>;

    /// What [`RemoteRepository::list`] or [`RemoteRepository::mirror`] found last. Asks nobody.
    fn known(&self) -> BTreeSet<String>;

    /// Brings models up to date: fetches what is new or has changed, and removes what is gone. Others stay as they are.
    /// Returns what was left out and stops nothing.
    ///
    /// # Errors
    /// Why the repository cannot be read, or the folder not be written. Each model is as it was, or up to date.
    fn mirror(&self, models: Mirrored<'_>) -> Result<Vec<Problem>, Problem>;

    /// Makes what is being read of it fail soon, and all that is asked for later.
    fn close(&self);
}

/// Which models are brought up to date.
#[derive(Clone, Copy)]
pub enum Mirrored<'a> {
    /// All but those of which this says that somebody reads them.
    All {
        /// Whether the model of a name is being read.
        but: &'a dyn Fn(&str) -> bool,
    },
    /// Those of these names, as far as they are there.
    Named(&'a [&'a str]),
}

impl Mirrored<'_> {
    /// Whether the model of a name is to be brought up to date.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        match self {
            Self::All { but } => !but(name),
            Self::Named(names) => names.contains(&name),
        }
    }
}

/// Whether a folder with these files and folders in it is one model's, as [`crate::scan`] would take it.
#[must_use]
pub fn is_model_folder<'a>(
    files: impl IntoIterator<Item = &'a str>,
    folders: impl IntoIterator<Item = &'a str>,
) -> bool {
    let tells = |name: &str| {
        name == MODEL_FILE || ConfigFormat::ALL.into_iter().any(|format| format.file_name() == name)
    };
    files.into_iter().any(tells)
        || folders.into_iter().any(|name| name == MODEL_FILE || version_of(name).is_some())
}

/// The model that a file in a repository's own folder is, if it is one.
#[must_use]
pub fn loose_model(file: &str) -> Option<&str> {
    file.strip_suffix(".onnx").filter(|stem| !stem.is_empty())
}
