use std::env;
use std::path::{Path, PathBuf};

use crate::runtime::NAME;
use adulis_backend::BackendError;

/// The release that set-up fetches and the tests run with.
pub(crate) const VERSION: &str = "1.28.0";
/// Environment variable that names the library file.
pub(crate) const LIBRARY_VARIABLE: &str = "ADULIS_ONNXRUNTIME_LIBRARY";

#[cfg(target_os = "macos")]
const FILE: &str = "libonnxruntime.dylib";
#[cfg(windows)]
const FILE: &str = "onnxruntime.dll";
#[cfg(not(any(target_os = "macos", windows)))]
const FILE: &str = "libonnxruntime.so";

/// Names that the system's loader is asked for, when no file was found.
#[cfg(not(any(target_os = "macos", windows)))]
const SYSTEM_NAMES: &[&str] = &["libonnxruntime.so.1", "libonnxruntime.so"];
#[cfg(any(target_os = "macos", windows))]
const SYSTEM_NAMES: &[&str] = &[FILE];

/// One place where the library may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// File, or bare name for the system's loader.
    pub(crate) path: PathBuf,
    /// Whether somebody named it: then it is used or nothing is.
    pub(crate) named: bool,
}

/// What the search reads from its surroundings; apart, so that it can be tested.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    pub(crate) library_variable: Option<PathBuf>,
    pub(crate) executable_folder: Option<PathBuf>,
    pub(crate) cache_folder: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        let folder = |name: &str| env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        let cache_folder = folder("ADULIS_CACHE_DIR")
            .or_else(|| folder("XDG_CACHE_HOME").map(|folder| folder.join("adulis")))
            .or_else(|| folder("HOME").map(|folder| folder.join(".cache").join("adulis")));
        Self {
            library_variable: folder(LIBRARY_VARIABLE),
            executable_folder: env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf)),
            cache_folder,
        }
    }

    /// Where to look, in order: what was named alone, else the usual places and the system's loader.
    pub(crate) fn places(&self, option: Option<&Path>) -> Vec<Place> {
        if let Some(path) = option.map(Path::to_path_buf).or(self.library_variable.clone()) {
            let path = std::path::absolute(&path).unwrap_or(path);
            return vec![Place { path, named: true }];
        }
        let beside = self.executable_folder.iter();
        let files = beside.flat_map(|folder| [folder.join("lib").join(FILE), folder.join(FILE)]).chain(
            self.cache_folder.iter().map(|folder| folder.join("onnxruntime").join(VERSION).join(FILE)),
        );
        let names = SYSTEM_NAMES.iter().map(PathBuf::from);
        files.chain(names).map(|path| Place { path, named: false }).collect()
    }
}

/// The error for a library that was not found or could not be loaded: what was tried, and the remedy.
pub(crate) fn not_found(tried: &[String]) -> BackendError {
    BackendError::Unavailable {
        backend: NAME,
        reason: format!(
            "ONNX Runtime {VERSION} or newer was not found. Looked at: {}. Remedy: run `cargo xtask setup`, or name the \
             library file with {LIBRARY_VARIABLE} or engine.onnxruntime.library",
            tried.join("; ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings {
            library_variable: None,
            executable_folder: Some("/bin".into()),
            cache_folder: Some("/cache".into()),
        }
    }

    #[test]
    fn what_is_named_is_the_only_place() {
        let mut around = surroundings();
        around.library_variable = Some("/var/lib.so".into());
        let by_variable = around.places(None);
        assert_eq!(by_variable, [Place { path: "/var/lib.so".into(), named: true }]);
        let by_option = around.places(Some(Path::new("/opt/lib.so")));
        assert_eq!(by_option, [Place { path: "/opt/lib.so".into(), named: true }]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn places_come_in_order() {
        let paths: Vec<_> = surroundings().places(None).into_iter().map(|place| place.path).collect();
        let expected = [
            "/bin/lib/libonnxruntime.so",
            "/bin/libonnxruntime.so",
            "/cache/onnxruntime/1.28.0/libonnxruntime.so",
            "libonnxruntime.so.1",
            "libonnxruntime.so",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
    }
}
