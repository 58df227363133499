//! The load generator on its own: `adulis bench` without the server.

use std::process::ExitCode;

use adulis_bench::{BenchArgs, Outcome};
use clap::Parser;

/// Measures throughput and latency of a model on an inference server.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn main() -> ExitCode {
    let failure = match bench(Cli::parse()) {
        Ok(outcome) => outcome.failure,
        Err(error) => Some(format!("error: {error:#}")),
    };
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn bench(cli: Cli) -> anyhow::Result<Outcome> {
    // The sending threads have runtimes of their own; this one only keeps time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(adulis_bench::run(cli.bench))
}
