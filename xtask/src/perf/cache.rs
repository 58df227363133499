//! The response cache: what is known against a model that does nothing and against the model that would have to run, stampedes
//! of identical requests, a shared tier that fails, rows of which half are known, and the bound of its memory.

mod bound;
mod outage;
mod rows;
mod stampede;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::echo::throughput;
use super::figure::Figure;
use super::goal::Goal;
use super::load::{Contest, Second, grpc, repeated, rest};
use super::workbench::{Adulis, BATCHED, Rounds, Workbench};

pub(super) use bound::run as memory;
pub(super) use outage::run as outages;
pub(super) use rows::run as half_known;
pub(super) use stampede::run as stampedes;

const ROUNDS: Rounds = Rounds { repetitions: 2, windows: 10, interval: Duration::from_millis(500) };

/// The same models with the response cache on.
const IDENTITY: &str = "identity_cached";
const MLP: &str = "mlp_cached";

const ENABLED: &str = "response_cache { enable: true }\n";

/// Requests per second where all answers are known: of a small model, and of one that costs nothing to run.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let nothing = "response cache, all known, 64 connections: requests/s against a model that does nothing";
    let over_grpc = "the same over gRPC, 8 connections × 8 streams";
    let uncached = "all known, MLP, REST binary, 64 connections: requests/s against the MLP without cache";
    let over_rest = |adulis: &Adulis| rest(adulis.http);
    Ok(vec![
        against(bench, (IDENTITY, "identity"), over_rest, nothing)?.goal(Goal::AtLeast(0.9)),
        against(bench, (IDENTITY, "identity"), |adulis| grpc(adulis.grpc), over_grpc)?
            .goal(Goal::AtLeast(0.9)),
        against(bench, (MLP, BATCHED), over_rest, uncached)?,
    ])
}

/// One model against another of the same server, asked the same thing over and over.
fn against(
    bench: &Workbench,
    (model, second): (&str, &str),
    url: impl Fn(&Adulis) -> String,
    what: &str,
) -> Result<Figure> {
    let models = models(bench)?;
    let pairs = repeated(
        bench,
        ROUNDS,
        || bench.serve(&models),
        |adulis| Contest {
            name: "cache",
            model,
            first: url(adulis),
            second: Second::Model(second),
            load: &["--concurrency", "64"],
            pids: None,
        },
    )?;
    throughput(what, &pairs)
}

/// The models of the other comparisons, and each of them with the cache on.
fn models(bench: &Workbench) -> Result<PathBuf> {
    let repository = bench.folder.join("cached");
    for (from, to, more) in [
        ("identity", "identity", ""),
        (BATCHED, BATCHED, ""),
        ("identity", IDENTITY, ENABLED),
        (BATCHED, MLP, ENABLED),
    ] {
        copy(bench, from, &repository.join(to), more)?;
    }
    Ok(repository)
}

/// A model of the other comparisons in another folder, with more in its configuration.
pub(super) fn copy(bench: &Workbench, name: &str, to: &Path, more: &str) -> Result<()> {
    let from = bench.models()?.join(name);
    let config = fs::read_to_string(from.join("config.pbtxt"))?;
    // A name in the configuration would have to be the folder's.
    let lines = config.lines().filter(|line| !line.starts_with("name:"));
    let config: String = lines.map(|line| format!("{line}\n")).collect();
    write(to, &format!("{config}{more}"))?;
    let model = from.join("1").join("model.onnx");
    if model.exists() {
        fs::copy(&model, to.join("1").join("model.onnx"))
            .with_context(|| format!("cannot copy {}", model.display()))?;
    }
    Ok(())
}

/// A model without a file of its own.
pub(super) fn write(folder: &Path, config: &str) -> Result<()> {
    let version = folder.join("1");
    fs::create_dir_all(&version).with_context(|| format!("cannot make {}", version.display()))?;
    let config_file = folder.join("config.pbtxt");
    fs::write(&config_file, config).with_context(|| format!("cannot write {}", config_file.display()))
}
