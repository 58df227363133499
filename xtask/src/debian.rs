//! Programs that Debian packages: installed where that is ours to do, named where it isn't.

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

/// True if we are root and there is an `apt-get`.
pub(crate) fn can_install() -> bool {
    let is_root = process::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    is_root && process::succeeds(Command::new("apt-get").arg("--version"))
}

/// Installs packages, without those they merely recommend.
///
/// # Errors
/// `apt-get` fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    process::capture_with_progress(Command::new("apt-get").arg("update"), "apt-get update")?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    process::capture_with_progress(&mut install, &format!("installing {}", packages.join(", "))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_alone() {
        ensure("git", "no-such-package").unwrap();
    }
}
