//! Python, for what only Python makes: example models, and clients that nobody here wrote.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, debian, process};

/// The oldest Python that everything here works with: what the conformance tests need.
const OLDEST: (u32, u32) = (3, 11);

const HOW_TO_GET_PYTHON: &str = "install Python 3.11 or newer with venv and pip (Debian, Ubuntu: \
     `apt-get install python3 python3-venv`; Fedora: `dnf install python3-pip`), \
     or name one in ADULIS_PYTHON";

/// A Python interpreter that is new enough.
pub(crate) struct Python {
    program: OsString,
    /// Its full version, part of what identifies an environment made with it.
    version: String,
}

impl Python {
    /// Finds `$ADULIS_PYTHON`, else `python3`, which is installed where it is missing, or lacks `venv`, and we are
    /// root on a Debian.
    ///
    /// # Errors
    /// There is none and it can't be installed; the message says how to get it.
    pub(crate) fn find() -> Result<Self> {
        let named = env::var_os("ADULIS_PYTHON").filter(|program| !program.is_empty());
        let is_ours_to_install = named.is_none();
        let program = named.unwrap_or_else(|| "python3".into());
        if is_ours_to_install && !has_venv(&program) && debian::can_install() {
            debian::install(&["python3", "python3-venv"])?;
        }
        let script =
            format!("import sys; assert sys.version_info >= {OLDEST:?}, sys.version; print(sys.version)");
        let version =
            process::capture(Command::new(&program).args(["-c", &script])).context(HOW_TO_GET_PYTHON)?;
        if !has_venv(&program) {
            bail!("this Python lacks venv or ensurepip: {HOW_TO_GET_PYTHON}");
        }
        Ok(Self { program, version })
    }

    /// A virtual environment in the cache folder with exactly these requirements; made once per content of the
    /// file and version of Python.
    ///
    /// # Errors
    /// The file can't be read, or a package can't be fetched or installed.
    pub(crate) fn environment(&self, name: &str, requirements: &Path) -> Result<Environment> {
        let wanted =
            fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
        let digest = cache::sha256(&[self.version.as_bytes(), &wanted].concat());
        let folder = cache::folder()?.join("venv").join(format!("{name}-{}", &digest[..12]));
        let environment = Environment { folder };
        let finished = environment.folder.join("finished");
        if finished.exists() {
            return Ok(environment);
        }
        self.make(&environment, name, requirements)?;
        fs::write(&finished, digest).with_context(|| format!("cannot write {}", finished.display()))?;
        Ok(environment)
    }

    fn make(&self, environment: &Environment, name: &str, requirements: &Path) -> Result<()> {
        let mut venv = Command::new(&self.program);
        venv.args(["-m", "venv", "--clear"]).arg(&environment.folder);
        process::capture_with_progress(&mut venv, &format!("{name}: making a Python environment"))?;
        let mut pip = environment.python();
        pip.args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(requirements);
        process::capture_with_progress(&mut pip, &format!("{name}: installing Python packages")).context(
            "pip could not install what is needed: is a package index within reach (`pip config`)?",
        )?;
        Ok(())
    }

    /// pip of this interpreter; where it has none (Debian ships them apart), that of an environment made for it.
    ///
    /// # Errors
    /// The environment can't be made.
    pub(crate) fn pip(&self) -> Result<Command> {
        let mut own = Command::new(&self.program);
        own.args(["-m", "pip"]);
        if process::succeeds(Command::new(&self.program).args(["-m", "pip", "--version"])) {
            return Ok(own);
        }
        let environment = Environment { folder: cache::folder()?.join("venv").join("pip") };
        let mut venv = Command::new(&self.program);
        venv.args(["-m", "venv"]).arg(&environment.folder);
        process::capture_with_progress(&mut venv, "making a Python environment for pip")?;
        let mut pip = environment.python();
        pip.args(["-m", "pip"]);
        Ok(pip)
    }
}

/// A virtual environment.
pub(crate) struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// Its interpreter.
    pub(crate) fn python(&self) -> Command {
        Command::new(self.program("python"))
    }

    /// A program that one of its packages brought.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let folder = if cfg!(windows) { "Scripts" } else { "bin" };
        self.folder.join(folder).join(name)
    }
}

fn has_venv(program: &OsString) -> bool {
    process::succeeds(Command::new(program).args(["-c", "import ensurepip, venv"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn every_text_names_the_same_python() {
        let wanted = format!("Python {}.{} or newer", OLDEST.0, OLDEST.1);
        assert!(HOW_TO_GET_PYTHON.contains(&wanted), "the hint does not say {wanted:?}");
        for file in [
            "README.md",
            "CONTRIBUTING.md",
            "conformance/requirements.txt",
            "benches/peers/requirements.txt",
        ] {
            let text = fs::read_to_string(workspace::root().join(file)).unwrap();
            assert!(text.contains(&wanted), "{file} does not say {wanted:?}");
        }
    }

    #[test]
    fn an_interpreter_that_is_missing_has_no_venv() {
        assert!(!has_venv(&"adulis-no-such-python".into()));
    }
}
