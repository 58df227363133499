//! The load generator on its own: `adulis bench` without the server.

use std::process::ExitCode;

use adulis_bench::BenchArgs;
use clap::Parser;

/// Measures throughput and latency of a model on an inference server.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    // The sending threads have runtimes of their own; this one only keeps time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(adulis_bench::run(cli.bench))?;
    if let Some(failure) = &outcome.failure {
        eprintln!("{failure}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
