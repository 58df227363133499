//! The cache folder: what set-up fetched, shared by all checkouts of a user.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

/// The folder's path: `$ADULIS_CACHE_DIR`, else `$XDG_CACHE_HOME/adulis`, else `~/.cache/adulis`.
///
/// The server looks for ONNX Runtime by the same rule.
///
/// # Errors
/// None of the three variables (`HOME` for the last) is set.
pub(crate) fn folder() -> Result<PathBuf> {
    locate(|name| env::var_os(name).filter(|value| !value.is_empty()))
        .ok_or_else(|| anyhow!("no cache folder: set ADULIS_CACHE_DIR, XDG_CACHE_HOME or HOME"))
}

fn locate(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = variable("ADULIS_CACHE_DIR").map(PathBuf::from);
    named
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| Path::new(&base).join("adulis")))
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache").join("adulis")))
}

/// Makes the folder and locks it against a second set-up until the returned file is dropped.
///
/// # Errors
/// The folder can't be made, written or locked.
pub(crate) fn lock() -> Result<File> {
    let folder = folder()?;
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
    let path = folder.join("setup.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another set-up to finish ({})", path.display());
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// The SHA-256 of some bytes, in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(variables: &[(&str, &str)]) -> Option<String> {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        locate(find).map(|path| path.display().to_string())
    }

    #[test]
    fn the_most_specific_variable_wins() {
        let all = [
            ("ADULIS_CACHE_DIR", "/a"),
            ("XDG_CACHE_HOME", "/x"),
            ("HOME", "/h"),
        ];
        assert_eq!(located(&all).as_deref(), Some("/a"));
        assert_eq!(located(&all[1..]).as_deref(), Some("/x/adulis"));
        assert_eq!(located(&all[2..]).as_deref(), Some("/h/.cache/adulis"));
        assert_eq!(located(&[]), None);
    }

    #[test]
    fn digests_are_the_published_ones() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
