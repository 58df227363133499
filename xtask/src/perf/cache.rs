//! The response cache: what is known against a model that does nothing, and against the model that would have to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::echo::throughput;
use super::figure::Figure;
use super::goal::Goal;
use super::load::{Contest, Second, rest};
use super::workbench::{BATCHED, Rounds, Workbench};

const ROUNDS: Rounds = Rounds { repetitions: 2, windows: 10, interval: Duration::from_millis(500) };

/// The same models with the response cache on.
const IDENTITY: &str = "identity_cached";
const MLP: &str = "mlp_cached";

const ENABLED: &str = "response_cache { enable: true }\n";

/// Requests per second where all answers are known: of a small model, and of one that costs nothing to run.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let against = |model, second, what: &str| {
        let rounds = bench.rounds(ROUNDS);
        let models = models(bench)?;
        let mut pairs = Vec::new();
        for _ in 0..rounds.repetitions {
            let adulis = bench.serve(&models)?;
            let contest = Contest {
                name: "cache",
                model,
                first: rest(adulis.http),
                second: Second::Model(second),
                concurrency: "64",
                pids: None,
            };
            let levels = contest.run(bench, rounds)?;
            pairs.extend(levels.into_iter().flat_map(|level| level.pairs));
        }
        throughput(what, &pairs)
    };
    let nothing = "response cache, all known, 64 connections: requests/s against a model that does nothing";
    let uncached = "the same of the MLP against the MLP without cache";
    Ok(vec![
        against(IDENTITY, "identity", nothing)?.goal(Goal::AtLeast(0.9)),
        against(MLP, BATCHED, uncached)?,
    ])
}

/// The models of the other comparisons, and each of them with the cache on.
fn models(bench: &Workbench) -> Result<PathBuf> {
    let plain = bench.models()?;
    let repository = bench.folder.join("cached");
    for (from, to) in [
        ("identity", "identity"),
        (BATCHED, BATCHED),
        ("identity", IDENTITY),
        (BATCHED, MLP),
    ] {
        let (from, to) = (plain.join(from), repository.join(to));
        copy(&from, &to)?;
        let config = fs::read_to_string(from.join("config.pbtxt"))?;
        let name = to.file_name().unwrap_or_default();
        let cached = if name == IDENTITY || name == MLP { ENABLED } else { "" };
        // A name in the configuration would have to be the folder's.
        let lines = config.lines().filter(|line| !line.starts_with("name:"));
        let config: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(to.join("config.pbtxt"), format!("{config}{cached}"))?;
    }
    Ok(repository)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let version = to.join("1");
    fs::create_dir_all(&version).with_context(|| format!("cannot make {}", version.display()))?;
    let model = from.join("1").join("model.onnx");
    if model.exists() {
        fs::copy(&model, version.join("model.onnx"))
            .with_context(|| format!("cannot copy {}", model.display()))?;
    }
    Ok(())
}
