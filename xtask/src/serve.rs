//! `cargo xtask serve`: from a fresh clone to a server that answers, in one command.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::setup::{self, SetupArgs};
use crate::{process, workspace};

/// Where REST listens when no flag says otherwise.
const DEFAULT_PORT: u16 = 8000;

/// Flags of `serve`.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Flags for `adulis serve`, after `--`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<String>,
}

/// Sets up, builds and serves; returns only if the server could not be started or has ended.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode> {
    let missing = setup::ensure(&SetupArgs::default())?;
    setup::report(&missing);
    process::run(workspace::cargo().args(["build", "--release", "--package", "adulis"]))?;
    let mut server = Command::new(workspace::binary("release")?);
    server.current_dir(workspace::root()).args(["serve", "examples/models"]).args(&args.flags);
    print_first_request(&args.flags);
    replace_by(&mut server)
}

fn print_first_request(flags: &[String]) {
    let request = Path::new("examples/models/digits/request.json");
    let Some(port) = rest_port(flags).filter(|_| workspace::root().join(request).is_file()) else {
        return;
    };
    eprintln!("\nwhen it is ready, classify a handwritten digit:\n");
    eprintln!("  curl -s localhost:{port}/v2/models/digits/infer -d @{}\n", request.display());
}

/// The port in `--http ADDR:PORT` or `--http=ADDR:PORT`, the last one given; none when REST is off.
fn rest_port(flags: &[String]) -> Option<u16> {
    let after = flags
        .windows(2)
        .filter(|pair| pair[0] == "--http")
        .map(|pair| pair[1].as_str())
        .next_back();
    let inline = flags.iter().filter_map(|flag| flag.strip_prefix("--http=")).next_back();
    let Some(address) = after.or(inline) else {
        return Some(DEFAULT_PORT);
    };
    address.rsplit(':').next()?.parse().ok()
}

/// Becomes the server, so that signals reach it and its exit code is ours.
#[cfg(unix)]
fn replace_by(server: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(anyhow::Error::new(server.exec()).context("cannot start the server"))
}

#[cfg(not(unix))]
fn replace_by(server: &mut Command) -> Result<ExitCode> {
    process::run(server).map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(flags: &[&str]) -> Option<u16> {
        rest_port(&flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_curl_line_names_the_port_that_the_flags_name() {
        assert_eq!(port(&[]), Some(8000));
        assert_eq!(port(&["--grpc", "0.0.0.0:9001"]), Some(8000));
        assert_eq!(port(&["--http", "127.0.0.1:9000"]), Some(9000));
        assert_eq!(port(&["--http=[::1]:9001", "--log", "json"]), Some(9001));
        assert_eq!(port(&["--http", "off"]), None);
    }
}
