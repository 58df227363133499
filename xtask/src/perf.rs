//! `cargo xtask perf`: every figure that the project promises, measured on this machine.
//!
//! Figures are ratios of two sides that take turns within one run, wherever that makes sense: what else goes on in the
//! machine meets both. Each is the median over many short windows and several starts of the processes, with an interval
//! that says how sure it is.

mod batching;
mod busy;
mod cache;
mod codec;
mod copies;
mod echo;
mod figure;
mod forms;
mod goal;
mod histogram;
mod isolation;
mod load;
mod machine;
mod measurement;
mod memory;
mod overload;
mod peer;
mod pools;
mod probe;
mod protection;
mod report;
mod resnet;
mod series;
mod server;
mod spread;
mod start;
mod table;
mod workbench;

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Result;
use clap::{Args, ValueEnum};

use machine::Machine;
use measurement::Measurement;
use report::{Entry, Report};
use series::Measured;
use workbench::Workbench;

/// Flags of `perf`.
#[derive(Args)]
pub(crate) struct PerfArgs {
    /// Measure these only (repeat it, or separate them by commas).
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    only: Vec<Measurement>,
    /// Measure little, to see that it works: the figures are rough.
    #[arg(long)]
    quick: bool,
    /// Keep what the last report says of measurements that are left out.
    #[arg(long)]
    merge: bool,
    /// Say what there is to measure, and how long it takes.
    #[arg(long)]
    list: bool,
}

/// Measures, prints the table, and writes it as Markdown and JSON; fails if a goal is missed by more than noise, or
/// something could not be measured.
///
/// # Errors
/// Nothing can be built or written at all.
pub(crate) fn run(args: &PerfArgs) -> Result<ExitCode> {
    if args.list {
        for measurement in Measurement::value_variants() {
            let (name, seconds) = (measurement.name(), measurement.seconds());
            eprintln!("{name:<14} {seconds:>4} s  {}", measurement.summary());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let bench = Workbench::new(args.quick)?;
    let machine = Machine::this();
    let path = bench.folder.join(report::JSON);
    let earlier = if args.merge { Report::read(&path, &machine)? } else { None };
    let mut report = earlier.unwrap_or(Report { machine, entries: Vec::new() });
    let names: Vec<String> = Measurement::value_variants().iter().map(|known| known.name()).collect();
    let wanted = wanted(&args.only);
    // Everything is built before anything is measured.
    let ready = measurement::prepare(&wanted, &bench);
    let mut failed = Vec::new();
    for (measurement, ready) in wanted.into_iter().zip(ready) {
        eprintln!("\n── {} ──", measurement.name());
        let entry = measure(measurement, ready, &bench);
        if entry.is_failure() {
            failed.push(entry.name.clone());
        }
        report.put(entry, &names);
        // After each, so that what was measured is not lost when the next one is interrupted.
        report.write(&bench.folder)?;
    }
    eprint!("\n{}", table::markdown(&report));
    eprintln!("\nwritten: {} and {}", path.display(), bench.folder.join(report::MARKDOWN).display());
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "\nmissed or not measured; to take only these again: cargo xtask perf --merge --only {}",
        failed.join(",")
    );
    Ok(ExitCode::FAILURE)
}

/// The measurements that were asked for, in the order of the report; all if none was named.
fn wanted(only: &[Measurement]) -> Vec<Measurement> {
    let all = Measurement::value_variants().iter().copied();
    all.filter(|measurement| only.is_empty() || only.contains(measurement)).collect()
}

fn measure(measurement: Measurement, ready: Result<()>, bench: &Workbench) -> Entry {
    let busy_before = busy::others();
    let measured = ready.and_then(|()| measurement.run(bench));
    let (Measured { figures, series }, failure) = match measured {
        Ok(measured) => (measured, None),
        Err(why) => (Vec::new().into(), Some(format!("{why:#}"))),
    };
    if let Some(why) = &failure {
        eprintln!("{}: {why}", measurement.name());
    }
    Entry {
        name: measurement.name(),
        commit: machine::commit(),
        measured_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        busy_before,
        quick: bench.quick,
        figures,
        series,
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_lists_and_not_the_command_lines() {
        let some = wanted(&[Measurement::Copies, Measurement::Batching, Measurement::Copies]);
        assert_eq!(some, [Measurement::Batching, Measurement::Copies]);
        assert_eq!(wanted(&[]).len(), Measurement::value_variants().len());
    }
}
