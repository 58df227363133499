//! What models there are: the paths that people name, looked through.

mod folder;
mod model;
mod search;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Scan;
pub(crate) use folder::version_of;
use folder::{Folder, Kind};
pub(crate) use model::reads_file;
use search::{Search, Wanted};

/// The model file's name where nothing else is configured.
pub(crate) const MODEL_FILE: &str = "model.onnx";

/// Looks through model files, model folders and model repositories.
///
/// - A file `foo.onnx` is model `foo`, version 1. A file in a version's folder, `digits/2/model.onnx`, is that version of
///   model `digits`, and `digits/model.onnx` is model `digits`; both with the configuration of their folder.
/// - A folder that holds a configuration, version folders or a model file is one model, named as the folder.
/// - Any other folder is a repository: each of its folders is a model, and each loose `*.onnx` file too. Hidden ones are
///   skipped.
///
/// Finds everything that is wrong at once; a broken model is in [`Scan::failed`] and stops no other. A name that is there
/// twice fails in both places, unless both are one and the same. A repository in which nothing looks like a model is in
/// [`Scan::empty`]. Links that lead out of a repository are refused; what is named directly may be a link.
///
/// Cost: about five system calls per model.
#[must_use]
pub fn scan(paths: &[PathBuf]) -> Scan {
    look(paths, Wanted::default())
}

fn look(paths: &[PathBuf], wanted: Wanted<'_>) -> Scan {
    let mut search = Search::new(wanted);
    for path in paths {
        search.path(path);
    }
    search.finish()
}

/// Model files, model folders and repositories as people name them, to be looked through again and again while a server
/// runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repositories(Vec<PathBuf>);

impl Repositories {
    /// These paths. Nothing is read yet.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }

    /// The paths.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// All models, as [`scan`] finds them, with the [`crate::Fingerprint`] of each. A fingerprint is older than what was
    /// read of its model: what is written meanwhile is seen at the next look.
    ///
    /// Cost: that of [`scan`], and one system call per file and folder of the models.
    #[must_use]
    pub fn scan(&self) -> Scan {
        look(&self.0, Wanted { fingerprints: true, ..Wanted::default() })
    }

    /// One model by its name, as [`scan`] would find it, with its fingerprint. Where there is no such model, neither
    /// [`Scan::models`] nor [`Scan::failed`] has an entry.
    ///
    /// `config`, in Triton's JSON form, stands in for the model's own configuration, which is not even read then.
    ///
    /// Cost: one listing per repository, and that of [`Repositories::scan`] for this model.
    #[must_use]
    pub fn find(&self, name: &str, config: Option<&[u8]>) -> Scan {
        look(&self.0, Wanted { name: Some(name), config, fingerprints: true })
    }

    /// The names of all that may be a model, each with the repository that it lies in. Nothing but the repositories'
    /// own folders is read, so that a folder with something else in it is named too.
    #[must_use]
    pub fn names(&self) -> BTreeMap<String, PathBuf> {
        let mut names = BTreeMap::new();
        for path in &self.0 {
            // What cannot be read now has no names; a scan tells what is wrong with it.
            let Ok(canonical) = path.canonicalize() else {
                continue;
            };
            let folder = canonical.is_dir().then(|| Folder::read(path)).and_then(Result::ok);
            match folder {
                None => put_file(&mut names, path),
                Some(folder) if folder.is_model() => put(&mut names, model::name_of(&canonical), path),
                Some(folder) => put_entries(&mut names, path, &folder),
            }
        }
        names
    }
}

fn put(names: &mut BTreeMap<String, PathBuf>, name: String, path: &Path) {
    names.insert(name, path.parent().unwrap_or(path).to_owned());
}

/// A model file that is named by itself.
fn put_file(names: &mut BTreeMap<String, PathBuf>, path: &Path) {
    match model::home_of(path) {
        Some((directory, _)) => put(names, model::name_of(directory), directory),
        None => put(names, model::stem(path), path),
    }
}

fn put_entries(names: &mut BTreeMap<String, PathBuf>, path: &Path, folder: &Folder) {
    for entry in &folder.entries {
        let inner = path.join(&entry.name);
        match (entry.kind, entry.name.to_str()) {
            (Kind::Folder, Some(name)) => put(names, name.to_owned(), &inner),
            (Kind::File, Some(_)) if model::is_model_file(&inner) => put(names, model::stem(&inner), &inner),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
