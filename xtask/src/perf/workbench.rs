//! What measurements share: the programs that were built, folders, and how much is measured.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::server::{Ready, Server, free_address};
use crate::{process, workspace};

/// The place where figures are made.
pub(super) struct Workbench {
    /// `target/perf`: reports, logs, and what is made once.
    pub(super) folder: PathBuf,
    /// Where Cargo puts what it built for release.
    release: PathBuf,
    /// Less of everything, to see that it works; the figures are rough.
    pub(super) quick: bool,
}

/// How often and how long two sides are compared.
#[derive(Clone, Copy)]
pub(super) struct Rounds {
    /// Fresh processes each time: how one start lays out memory and threads is part of the noise.
    pub(super) repetitions: usize,
    /// Pairs of windows in each.
    pub(super) windows: usize,
    pub(super) interval: Duration,
}

impl Workbench {
    /// Makes the folder.
    ///
    /// # Errors
    /// The folder can't be made, or Cargo can't say where it belongs.
    pub(super) fn new(quick: bool) -> Result<Self> {
        let target = workspace::target()?;
        let folder = target.join("perf");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder, release: target.join("release"), quick })
    }

    /// A program that was built for release: `adulis`, `adulis-baseline`, `examples/…`.
    pub(super) fn program(&self, name: &str) -> Command {
        Command::new(self.release.join(format!("{name}{EXE_SUFFIX}")))
    }

    /// `full`, or three short windows where it has to be quick.
    pub(super) fn rounds(&self, full: Rounds) -> Rounds {
        if !self.quick {
            return full;
        }
        Rounds { repetitions: 1, windows: 3, interval: Duration::from_millis(200) }
    }

    /// `full`, or `quick`.
    pub(super) fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// An Adulis that serves `repository` and is ready.
    ///
    /// # Errors
    /// It can't be started or doesn't become ready.
    pub(super) fn serve(&self, repository: &Path) -> Result<Adulis> {
        self.serve_with(repository, &[])
    }

    /// The same with further flags.
    ///
    /// # Errors
    /// It can't be started or doesn't become ready.
    pub(super) fn serve_with(&self, repository: &Path, flags: &[&str]) -> Result<Adulis> {
        self.start(repository, flags, |adulis| adulis.http)
    }

    /// The same where REST can't be asked in plain words: whether it is ready is asked for at the metrics port.
    ///
    /// # Errors
    /// It can't be started or doesn't become ready.
    pub(super) fn serve_guarded(&self, repository: &Path, flags: &[&str]) -> Result<Adulis> {
        self.start(repository, flags, |adulis| adulis.metrics)
    }

    fn start(
        &self,
        repository: &Path,
        flags: &[&str],
        asked: impl FnOnce(&Adulis) -> SocketAddr,
    ) -> Result<Adulis> {
        let [http, grpc, metrics] = [free_address()?, free_address()?, free_address()?];
        let mut command = self.program("adulis");
        command.arg("serve").arg(repository).args(["--log-level", "warn"]).args(flags);
        for (flag, address) in [("--http", http), ("--grpc", grpc), ("--metrics", metrics)] {
            command.arg(flag).arg(address.to_string());
        }
        // Settings of the person at this machine are not part of the figure.
        command.current_dir(&self.folder).env_remove("ADULIS_CONFIG");
        let process = Server::start("adulis", &mut command, &self.logs())?;
        let mut adulis = Adulis { process, http, grpc, metrics, ready_after: Duration::ZERO };
        let asked = asked(&adulis);
        adulis.ready_after = adulis.process.wait(asked, Ready::Answers("/v2/health/ready"))?;
        Ok(adulis)
    }

    /// Bare echo servers.
    ///
    /// # Errors
    /// They can't be started.
    pub(super) fn baseline(&self) -> Result<Baseline> {
        let [http, grpc] = [free_address()?, free_address()?];
        let mut command = self.program("adulis-baseline");
        command.args(["--http", &http.to_string(), "--grpc", &grpc.to_string()]);
        let mut process = Server::start("adulis-baseline", &mut command, &self.logs())?;
        process.wait(http, Ready::Listens)?;
        process.wait(grpc, Ready::Listens)?;
        Ok(Baseline { process, http, grpc })
    }

    /// Where servers write.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// A model repository for comparisons: `identity` and the MLP, with dynamic batching and without.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub(super) fn models(&self) -> Result<PathBuf> {
        let repository = self.folder.join("models");
        let examples = workspace::root().join("examples").join("models");
        let identity = fs::read_to_string(examples.join("identity").join("config.pbtxt"))?;
        let mlp = examples.join("mlp").join("1").join("model.onnx");
        for (name, config, model) in [
            ("identity", identity.as_str(), None),
            (BATCHED, "max_batch_size: 64\ndynamic_batching { }\n", Some(&mlp)),
            (UNBATCHED, "max_batch_size: 64\n", Some(&mlp)),
        ] {
            let version = repository.join(name).join("1");
            fs::create_dir_all(&version).with_context(|| format!("cannot make {}", version.display()))?;
            fs::write(repository.join(name).join("config.pbtxt"), config)?;
            if let Some(model) = model {
                fs::copy(model, version.join("model.onnx"))
                    .with_context(|| format!("cannot copy {}", model.display()))?;
            }
        }
        Ok(repository)
    }
}

/// The MLP with dynamic batching.
pub(super) const BATCHED: &str = "mlp";

/// The same without.
pub(super) const UNBATCHED: &str = "mlp_unbatched";

/// Builds a release of these Cargo arguments, with its output on ours: it may take minutes.
///
/// # Errors
/// It doesn't build.
pub(super) fn build(arguments: &[&str]) -> Result<()> {
    process::run(workspace::cargo().args(["build", "--release"]).args(arguments))
}

/// A running Adulis.
pub(super) struct Adulis {
    pub(super) process: Server,
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) metrics: SocketAddr,
    /// From its start to the first look that found it ready.
    pub(super) ready_after: Duration,
}

/// Running echo servers.
pub(super) struct Baseline {
    pub(super) process: Server,
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
}
