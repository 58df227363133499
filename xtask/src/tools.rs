//! Cargo's subcommands that tasks need: the installed ones, else our own in the cache folder.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, process, workspace};

/// A subcommand of Cargo that is not part of it.
pub(crate) struct Tool {
    /// What follows `cargo`.
    pub(crate) name: &'static str,
    /// The version that is installed where there is none.
    pub(crate) version: &'static str,
}

impl Tool {
    /// The command up to its arguments, in the root of the checkout. Where it has to be built first, that takes minutes, once.
    ///
    /// # Errors
    /// It is not installed, and cannot be.
    pub(crate) fn command(&self) -> Result<Command> {
        let Self { name, version } = self;
        if process::succeeds(workspace::cargo().args([name, "--version"])) {
            let mut command = workspace::cargo();
            command.arg(name);
            return Ok(command);
        }
        let package = format!("cargo-{name}");
        let tools = cache::folder()?.join("tools");
        let program = tools.join("bin").join(&package);
        // A subcommand is told its own name first, as Cargo would.
        let own = || {
            let mut own = Command::new(&program);
            own.current_dir(workspace::root()).arg(name);
            own
        };
        if !process::succeeds(own().arg("--version")) {
            let mut install = workspace::cargo();
            install
                .args(["install", &package, "--locked", "--version", version, "--root"])
                .arg(&tools);
            // Its own build folder, not the one of this workspace.
            install.env_remove("CARGO_TARGET_DIR");
            process::capture_with_progress(&mut install, &format!("building {package} {version}, once"))
                .with_context(|| format!("{package} is missing: `cargo install {package} --locked`"))?;
        }
        Ok(own())
    }
}
