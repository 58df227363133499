//! `adulis keys`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use adulis_types::Scope;
use clap::{Args, Subcommand};

use super::log::parse_time;
use super::{ServeArgs, parse_setting};

const EXAMPLES: &str = "\
Examples:
  adulis keys create billing --scope infer --scope metadata
  adulis keys create ci --scope repository --model 'team-a-*' --expires 90d
  adulis keys list
  adulis keys rotate key_Q2hhbmdlIG1l --grace 1h
  adulis keys revoke key_Q2hhbmdlIG1l
  adulis keys history
  KEY=$(adulis keys create load-test --scope infer --expires 1h)

A key is shown once, on the standard output, and cannot be had again: the store keeps its SHA-256.
Scopes: health, infer, metadata, statistics, repository, cache, logging, trace, shm, metrics, admin (all of them).
Where the keys lie is a matter of configuration: store.url, as `adulis serve` reads it. Servers know of a new key at once, and
of one that is revoked within twice auth.ttl.";

/// `adulis keys`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeysCommand,
    /// Configuration file [default: adulis.toml, if it is there]
    #[arg(
        long,
        value_name = "FILE",
        env = "ADULIS_CONFIG",
        hide_env_values = true,
        global = true
    )]
    pub config: Option<PathBuf>,
    /// Any setting by its key; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting, global = true)]
    pub set: Vec<(String, String)>,
}

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key, and show it this once
    Create(CreateArgs),
    /// List the keys, without their secrets
    List {
        /// Those that have ended, too
        #[arg(long)]
        all: bool,
        /// Write one JSON document, for programs
        #[arg(long)]
        json: bool,
    },
    /// Make a key that may do what another one may, which ends
    Rotate {
        /// The id of the key that ends
        #[arg(value_name = "ID")]
        id: String,
        /// How long the old key is valid beside the new one
        #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
        grace: Duration,
        /// Write one JSON document, for programs
        #[arg(long)]
        json: bool,
    },
    /// End a key
    Revoke {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Tell who did what to keys, the latest first
    History {
        /// Most lines
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
        /// Write one JSON document, for programs
        #[arg(long)]
        json: bool,
    },
}

/// `adulis keys create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What it is called, for people
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it may be used for; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = parse_scope)]
    pub scopes: Vec<Scope>,
    /// A model that it may be used with, or several by a *; may be repeated [default: all]
    #[arg(long = "model", value_name = "PATTERN", value_delimiter = ',')]
    pub models: Vec<String>,
    /// When it ends: a date, a date and time (UTC), or in how long, as 24h or 90d [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_end)]
    pub expires: Option<SystemTime>,
    /// Its share where keys compete for the same model
    #[arg(long, value_name = "SHARE", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub weight: u32,
    /// The class of quotas that it falls under [default: that of everybody]
    #[arg(long, value_name = "NAME")]
    pub quota: Option<String>,
    /// Write one JSON document, for programs
    #[arg(long)]
    pub json: bool,
}

impl KeysArgs {
    /// The command line of a server with the same configuration.
    #[must_use]
    pub fn serve(&self) -> ServeArgs {
        ServeArgs { config: self.config.clone(), set: self.set.clone(), ..ServeArgs::default() }
    }
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    let expected = || format!("expected {}", Scope::ALL.map(Scope::as_str).join(", "));
    Scope::named(text.trim()).ok_or_else(expected)
}

fn parse_end(text: &str) -> Result<SystemTime, String> {
    let end = parse_time(text, |left| SystemTime::now().checked_add(left))
        .ok_or_else(|| "expected a time such as 2027-01-31, 2027-01-31T12:00:00Z or 90d".to_owned())?;
    if end <= SystemTime::now() {
        return Err("is in the past".to_owned());
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_lie_ahead() {
        let left = parse_end("90d").unwrap().duration_since(SystemTime::now()).unwrap();
        assert!((7_775_000..=7_776_000).contains(&left.as_secs()), "{left:?}");
        assert_eq!(parse_end("2200-01-01").unwrap(), parse_end("2200-01-01T00:00:00Z").unwrap());
        for text in ["", "never", "2020-01-01", "0s", "99999999999999y"] {
            assert!(parse_end(text).is_err(), "{text}");
        }
        assert_eq!(parse_scope(" infer"), Ok(Scope::Infer));
        assert!(parse_scope("all").unwrap_err().contains("repository"));
    }
}
