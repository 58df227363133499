//! Programs that Debian packages: installed where that is ours to do, named where it isn't.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// Makes sure that a program can be started, installing its package if we are root on a Debian.
///
/// # Errors
/// It is missing and can't be installed; the message says how to get it.
pub(crate) fn ensure(program: &str, package: &str) -> Result<()> {
    let is_there = || process::succeeds(Command::new(program).arg("--version"));
    if !is_there() && can_install() {
        install(&[package])?;
    }
    if !is_there() {
        bail!("{program} is missing: install it (Debian, Ubuntu: `apt-get install {package}`)");
    }
    Ok(())
}

/// Makes sure that PostgreSQL's programs are there, which Debian keeps beside the path.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn ensure_postgres() -> Result<()> {
    let in_debian =
        || fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| versions.next().is_some());
    let is_there = || in_debian() || process::succeeds(Command::new("initdb").arg("--version"));
    if !is_there() && can_install() {
        install(&["postgresql-15"])?;
    }
    if !is_there() {
        bail!("PostgreSQL is missing: install it (Debian: `apt-get install postgresql-15`)");
    }
    Ok(())
}

/// Makes sure that libfaketime is there, which is a library without a program.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn ensure_faketime() -> Result<()> {
    let is_there = || {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        folders
            .map(|folder| folder.path())
            .any(|folder| folder.join("faketime/libfaketimeMT.so.1").exists())
    };
    if !is_there() && can_install() {
        install(&["libfaketime"])?;
    }
    if !is_there() {
        bail!("libfaketime is missing: install it (Debian: `apt-get install libfaketime`)");
    }
    Ok(())
}

/// True if we are root and there is an `apt-get`.
pub(crate) fn can_install() -> bool {
    let is_root = process::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    is_root && process::succeeds(Command::new("apt-get").arg("--version"))
}

/// Installs packages, without those they merely recommend. Services that come with them are not started: tests start their own.
///
/// # Errors
/// `apt-get` fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    process::capture_with_progress(Command::new("apt-get").arg("update"), "apt-get update")?;
    let _policy = NoServices::begin();
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    process::capture_with_progress(&mut install, &format!("installing {}", packages.join(", "))).map(drop)
}

/// Debian's way to say that packages must not start services, until it is dropped. Somebody's own policy stays as it is.
struct NoServices(Option<&'static str>);

impl NoServices {
    fn begin() -> Self {
        let policy = "/usr/sbin/policy-rc.d";
        let mut file = OpenOptions::new();
        let made = file.write(true).create_new(true).mode(0o755).open(policy);
        let written = made.and_then(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n"));
        Self(written.is_ok().then_some(policy))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = self.0 {
            let _ = fs::remove_file(policy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_alone() {
        ensure("git", "no-such-package").unwrap();
    }
}
