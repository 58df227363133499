//! ONNX Runtime: its shared library, out of the wheel that its makers publish, pinned by version and digest.
//!
//! 1.28.0 is the last version whose Linux wheels carry no telemetry.

use std::env::consts::{ARCH, OS};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use zip::ZipArchive;

use crate::python::Python;
use crate::{cache, process};

/// The version that is fetched; the crate `onnx` looks for it in a folder of this name.
pub(crate) const VERSION: &str = "1.28.0";

/// The library's name in the cache folder.
const LIBRARY: &str = "libonnxruntime.so";

/// Kept beside the library: the digest of the wheel it came from, written when everything else is there.
const STAMP: &str = "wheel.sha256";

const HOW_TO_GET_IT: &str = "pip could not fetch ONNX Runtime: either give it a package index within reach \
     (`pip config`), or fetch the wheel elsewhere and pass it with `cargo xtask setup --onnxruntime-wheel FILE`";

/// Licence texts that must travel with the library.
const NOTICES: [&str; 2] = ["LICENSE", "ThirdPartyNotices.txt"];

/// What an installation consists of, and what has to be copied with it.
pub(crate) const FILES: [&str; 3] = [LIBRARY, NOTICES[0], NOTICES[1]];

/// A wheel as the package index has it.
#[derive(Debug, PartialEq, Eq)]
struct Wheel {
    platform: &'static str,
    sha256: &'static str,
}

/// The wheel for an operating system and architecture, by the names of [`std::env::consts`].
fn wheel(os: &str, arch: &str) -> Option<Wheel> {
    match (os, arch) {
        ("linux", "x86_64") => Some(Wheel {
            platform: "manylinux_2_28_x86_64",
            sha256: "a166b78ee04f3a37fa1ef82034b6a3ce96d9684e582d4d30b296de83e9998bb5",
        }),
        ("linux", "aarch64") => Some(Wheel {
            platform: "manylinux_2_28_aarch64",
            sha256: "8d66f9ceb29909c70839e4e4fb3435c7b490050d8f162bd5f3aba4ca01ee517f",
        }),
        _ => None,
    }
}

/// Makes sure that the library is in the cache folder, and says where.
///
/// `local` is a wheel fetched by other means, for machines without a package index; its digest is checked too.
///
/// # Errors
/// There is no wheel for this machine, it can't be fetched, or its digest isn't the pinned one.
pub(crate) fn ensure(local: Option<&Path>) -> Result<PathBuf> {
    let wheel = wheel(OS, ARCH).ok_or_else(|| {
        anyhow!(
            "no ONNX Runtime {VERSION} is pinned for {OS} on {ARCH}; the server runs models with tract there"
        )
    })?;
    let versions = cache::folder()?.join("onnxruntime");
    let folder = versions.join(VERSION);
    let library = folder.join(LIBRARY);
    if is_installed(&folder, wheel.sha256) {
        return Ok(library);
    }
    fs::create_dir_all(&versions).with_context(|| format!("cannot make {}", versions.display()))?;
    // In the same folder, so that moving it into place is one step of the file system.
    let scratch = tempfile::tempdir_in(&versions).context("cannot make a folder for the download")?;
    let file = match local {
        Some(path) => path.to_owned(),
        None => download(&wheel, scratch.path())?,
    };
    install(&file, wheel.sha256, scratch.path(), &folder)?;
    eprintln!("installed ONNX Runtime {VERSION} in {}", folder.display());
    Ok(library)
}

fn is_installed(folder: &Path, sha256: &str) -> bool {
    let stamped = fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp.trim() == sha256);
    stamped && folder.join(LIBRARY).is_file()
}

/// Fetches the wheel with pip, whatever the version of the local Python.
fn download(wheel: &Wheel, into: &Path) -> Result<PathBuf> {
    let mut pip = Python::find()?.pip()?;
    pip.args([
        "download",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    pip.args([
        "--implementation",
        "cp",
        "--python-version",
        "3.11",
        "--abi",
        "cp311",
    ]);
    pip.args(["--platform", wheel.platform, "--dest"])
        .arg(into)
        .arg(format!("onnxruntime=={VERSION}"));
    process::capture_with_progress(&mut pip, &format!("fetching ONNX Runtime {VERSION} with pip"))
        .context(HOW_TO_GET_IT)?;
    let entries = fs::read_dir(into)?.collect::<io::Result<Vec<_>>>()?;
    let found = entries
        .iter()
        .map(fs::DirEntry::path)
        .find(|path| path.extension().is_some_and(|e| e == "whl"));
    found.ok_or_else(|| anyhow!("pip reported success and left no wheel in {}", into.display()))
}

/// Checks a wheel, takes the library and its licences out of it and moves them into place in one step.
fn install(wheel: &Path, sha256: &str, scratch: &Path, folder: &Path) -> Result<()> {
    let bytes = fs::read(wheel).with_context(|| format!("cannot read {}", wheel.display()))?;
    let actual = cache::sha256(&bytes);
    if actual != sha256 {
        bail!(
            "digest mismatch: {} has SHA-256 {actual}, pinned is {sha256}; it was not installed",
            wheel.display()
        );
    }
    let mut archive = ZipArchive::new(io::Cursor::new(bytes)).context("the wheel is not a zip archive")?;
    let staged = scratch.join("staged");
    fs::create_dir(&staged)?;
    extract(&mut archive, &format!("onnxruntime/capi/{LIBRARY}.{VERSION}"), &staged.join(LIBRARY))?;
    for notice in NOTICES {
        extract(&mut archive, &format!("onnxruntime/{notice}"), &staged.join(notice))?;
    }
    fs::write(staged.join(STAMP), sha256)?;
    if folder.exists() {
        // Half an installation, or one from another wheel.
        fs::rename(folder, scratch.join("replaced"))?;
    }
    fs::rename(&staged, folder).with_context(|| format!("cannot move ONNX Runtime to {}", folder.display()))
}

fn extract(archive: &mut ZipArchive<io::Cursor<Vec<u8>>>, name: &str, to: &Path) -> Result<()> {
    let mut entry = archive.by_name(name).with_context(|| format!("the wheel has no {name}"))?;
    let mut file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    io::copy(&mut entry, &mut file).with_context(|| format!("cannot take {name} out of the wheel"))?;
    Ok(())
}

#[cfg(test)]
mod tests;
