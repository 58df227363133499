//! Worker processes: a model in one against the same model in the server's own process.

use std::time::Duration;

use anyhow::Result;

use super::cache::copy;
use super::echo::{added_p50, throughput};
use super::figure::Figure;
use super::load::{Contest, Pair, Second, repeated, rest};
use super::workbench::{BATCHED, Rounds, Workbench};

const ROUNDS: Rounds = Rounds { repetitions: 2, windows: 10, interval: Duration::from_millis(500) };

/// The MLP in a worker.
const ISOLATED: &str = "mlp_isolated";

const PROCESS: &str = "parameters { key: \"isolation\" value: { string_value: \"process\" } }\n";

/// What handing batches to a worker costs at one connection, and under load.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let alone = against(bench, "1")?;
    let what =
        "MLP in a worker process, REST binary, one connection: p50 added over the server's own process";
    let under_load = against(bench, "64")?;
    let what_under_load =
        "the same, 64 connections, batching on: requests/s against the server's own process";
    Ok(vec![
        added_p50(what, &alone)?,
        throughput(what_under_load, &under_load)?,
    ])
}

fn against(bench: &Workbench, concurrency: &str) -> Result<Vec<Pair>> {
    let models = bench.folder.join("isolated");
    for (name, more) in [(BATCHED, ""), (ISOLATED, PROCESS)] {
        copy(bench, BATCHED, &models.join(name), more)?;
    }
    let load = ["--concurrency", concurrency];
    repeated(
        bench,
        ROUNDS,
        || bench.serve(&models),
        |adulis| Contest {
            name: "isolation",
            model: ISOLATED,
            first: rest(adulis.http),
            second: Second::Model(BATCHED),
            load: &load,
            pids: None,
        },
    )
}
