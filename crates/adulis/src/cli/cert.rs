//! `adulis cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  adulis cert dev                             for localhost, in ./certs
  adulis cert dev --out /tmp/certs --name models.example --name 10.0.0.7
  adulis cert dev --client spiffe://example/billing

Exit codes: 0 they are made, 1 they are not: a file was there already, or a name is none, 2 the command line is at fault.";

/// `adulis cert`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct CertArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CertCommand,
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Make an authority, a server's certificate and a client's, to develop with
    Dev(DevArgs),
}

/// `adulis cert dev`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// Folder for the files, none of which may be there yet
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub out: PathBuf,
    /// Name or address of the server; may be repeated
    #[arg(long = "name", value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    pub names: Vec<String>,
    /// Whom the client's certificate names: a URI, an e-mail address or a host
    #[arg(long, value_name = "NAME", default_value = "spiffe://adulis/developer")]
    pub client: String,
}
