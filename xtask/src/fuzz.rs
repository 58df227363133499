//! The fuzz targets. Their programs are no part of the workspace, so that nothing else would notice that they no longer compile;
//! their bodies are (`crates/fuzzing`), and the tests search with them for some seconds. Here is the long form, too.

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{process, workspace};

pub(crate) use search::{FuzzArgs, run};

/// The lock file, where it is told what to do about it.
const RENEW: &str =
    "`cp Cargo.lock fuzz/ && cargo update --workspace --manifest-path fuzz/Cargo.toml` renews it";

/// Checks that all targets compile, without the fuzzer itself, and that what they are made of is what the server is made of.
///
/// # Errors
/// A target does not compile; the lock file is out of date, or has other versions than the workspace's.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let drifted = drifted(&locked(&root)?, &locked(&root.join("fuzz"))?);
    if !drifted.is_empty() {
        let lines = drifted.join("\n  ");
        bail!("fuzz/Cargo.lock has other versions than Cargo.lock:\n  {lines}\n{RENEW}");
    }
    let mut check = workspace::cargo();
    check.args(["check", "--bins", "--locked", "--no-default-features"]);
    check.args(["--manifest-path", "fuzz/Cargo.toml"]);
    // The workspace's folder: most of what the targets need was checked there already.
    check.arg("--target-dir").arg(workspace::target()?);
    process::run(&mut check)
        .with_context(|| format!("the fuzz targets do not compile, or their lock file is old: {RENEW}"))
}

#[derive(Deserialize)]
struct LockFile {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// The versions of each package in a folder's lock file.
type Locked = BTreeMap<String, BTreeSet<String>>;

fn locked(folder: &Path) -> Result<Locked> {
    let path = folder.join("Cargo.lock");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    versions(&text).with_context(|| format!("cannot read {}", path.display()))
}

fn versions(text: &str) -> Result<Locked> {
    let file: LockFile = toml::from_str(text)?;
    let mut locked = Locked::new();
    for package in file.package {
        locked.entry(package.name).or_default().insert(package.version);
    }
    Ok(locked)
}

/// Where the fuzz targets have a package in a version in which the workspace does not have it.
fn drifted(workspace: &Locked, fuzz: &Locked) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, versions) in fuzz {
        let Some(ours) = workspace.get(name) else {
            continue;
        };
        for version in versions.difference(ours) {
            let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
            lines.push(format!("{name} {version}, not {}", ours.join(" or ")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str)]) -> Locked {
        let package = |(name, version): &(&str, &str)| {
            format!("[[package]]\nname = {name:?}\nversion = {version:?}\ndependencies = [\"x\"]\n")
        };
        let text: String = packages.iter().map(package).collect();
        versions(&format!("version = 4\n{text}")).unwrap()
    }

    #[test]
    fn versions_that_the_server_is_not_made_of_are_named() {
        let ours = lock(&[
            ("bytes", "1.12.0"),
            ("prost", "0.14.1"),
            ("syn", "1.0.0"),
            ("syn", "2.0.0"),
        ]);
        let fuzz = [("bytes", "1.12.0"), ("libfuzzer-sys", "0.4.13"), ("syn", "2.0.0")];
        assert_eq!(drifted(&ours, &lock(&fuzz)), [] as [&str; 0]);
        let fuzz = [("bytes", "1.11.0"), ("prost", "0.14.1"), ("syn", "2.0.1")];
        assert_eq!(
            drifted(&ours, &lock(&fuzz)),
            ["bytes 1.11.0, not 1.12.0", "syn 2.0.1, not 1.0.0 or 2.0.0"]
        );
    }
}
