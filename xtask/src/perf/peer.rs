//! The peer that a Python team writes first: FastAPI and ONNX Runtime (`benches/peers`).

use std::time::Duration;

use anyhow::Result;

use super::echo::throughput;
use super::figure::Figure;
use super::goal::Goal;
use super::load::{Contest, Second, rest};
use super::server::{Ready, Server, free_address};
use super::workbench::{BATCHED, Rounds, Workbench};
use crate::python::{Environment, Python};
use crate::workspace;

const ROUNDS: Rounds = Rounds { repetitions: 2, windows: 12, interval: Duration::from_millis(500) };

/// One worker per core of the machine that the goal was set for.
const WORKERS: &str = "2";

/// The peer's Python environment, made if need be.
///
/// # Errors
/// There is no Python, or pip can't fetch what is needed.
pub(super) fn environment() -> Result<Environment> {
    let requirements = workspace::root().join("benches").join("peers").join("requirements.txt");
    Python::find()?.environment("peers", &requirements)
}

/// Requests per second of the MLP at 64 connections.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let rounds = bench.rounds(ROUNDS);
    let models = bench.models()?;
    let mut pairs = Vec::new();
    for _ in 0..rounds.repetitions {
        let adulis = bench.serve(&models)?;
        let address = free_address()?;
        let mut command = environment()?.python();
        command.args(["-m", "uvicorn", "fastapi_onnxruntime:app", "--app-dir"]);
        command.arg(workspace::root().join("benches").join("peers"));
        command.args([
            "--host",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
            "--workers",
            WORKERS,
        ]);
        command.args(["--no-access-log", "--log-level", "warning"]);
        command.env("MODEL", models.join(BATCHED).join("1").join("model.onnx"));
        let mut peer = Server::start("fastapi", &mut command, &bench.logs())?;
        peer.wait(address, Ready::Answers("/v2/health/ready"))?;
        let contest = Contest {
            name: "fastapi",
            model: BATCHED,
            first: rest(adulis.http),
            second: Second::Server(rest(address)),
            load: &["--concurrency", "64"],
            pids: None,
        };
        pairs.extend(contest.run(bench, rounds)?.into_iter().flat_map(|level| level.pairs));
    }
    let what = "MLP, REST binary, 64 connections: requests/s against FastAPI + ONNX Runtime with two workers";
    Ok(vec![throughput(what, &pairs)?.goal(Goal::AtLeast(5.0))])
}
