//! What models there are: the paths that people name, looked through.

mod folder;
mod model;
mod repositories;
mod search;

use std::path::PathBuf;

use crate::Scan;
pub(crate) use folder::version_of;
pub(crate) use model::reads_file;
pub use repositories::Repositories;
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
    let mut search = Search::new(Wanted::default());
    for path in paths {
        search.path(path);
    }
    search.finish()
}

#[cfg(test)]
mod tests;
