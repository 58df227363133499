//! Tasks of this repository: `cargo xtask setup`, `serve`, `test`, `tidy`, `codegen`, `fuzz`, `sanitize`, `image` and `perf`.
//!
//! One module per task, and under them what they share: the cache folder, programs that are run, Python.
//! Words for a person go to standard error.

mod cache;
mod codegen;
mod debian;
mod fuzz;
mod image;
mod onnxruntime;
mod perf;
mod perf_analyzer;
mod process;
mod python;
mod sanitize;
mod serve;
mod setup;
mod suite;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tasks of the Adulis repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch ONNX Runtime and make the example models; quick when that is done already.
    Setup(setup::SetupArgs),
    /// Set up, build the release binary and serve `examples/models`.
    Serve(serve::ServeArgs),
    /// Run every check and every test, and print a summary.
    Test(suite::SuiteArgs),
    /// Check the rules of the house that no other tool knows.
    Tidy,
    /// Write the Rust code that is generated from `proto/`.
    Codegen {
        /// Only compare it with what is there.
        #[arg(long)]
        check: bool,
    },
    /// Search for inputs that break what reads them, with cargo-fuzz.
    Fuzz(fuzz::FuzzArgs),
    /// Run the tests of unsafe code under AddressSanitizer.
    Sanitize(sanitize::SanitizeArgs),
    /// Build the server's container image from a binary built here.
    Image(image::ImageArgs),
    /// Measure the figures that the project promises, and print them beside their goals.
    Perf(perf::PerfArgs),
}

fn main() -> ExitCode {
    match run(&Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<ExitCode> {
    match task {
        Task::Setup(args) => setup::run(args),
        Task::Serve(args) => serve::run(args),
        Task::Test(args) => suite::run(args),
        Task::Tidy => tidy::run(),
        Task::Codegen { check } => codegen::codegen(*check).map(|()| ExitCode::SUCCESS),
        Task::Fuzz(args) => fuzz::run(args),
        Task::Sanitize(args) => sanitize::run(args),
        Task::Image(args) => image::run(args),
        Task::Perf(args) => perf::run(args),
    }
}
