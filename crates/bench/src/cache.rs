use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::api_key::ApiKeyArgs;
use crate::args::parse_positive_duration;
use crate::client::Keep;
use crate::codec::{empty_post, get_request};
use crate::connect::{Connector, TlsArgs};
use crate::http1::Http1Client;
use crate::target::{Protocol, Target};

const EXAMPLES: &str = "\
Examples:
  adulis cache status
  adulis cache status --url http://127.0.0.1:9000 --json
  adulis cache status --url https://models.example:8000 --ca ca.pem
  adulis cache purge digits
  adulis cache purge --all
  ADULIS_API_KEY=adulis_… adulis cache status     where the server asks who does it

Exit codes: 0 it is done, 1 the server did not do it, 2 the command line is at fault.";

/// Looks at a server's response cache, or purges it.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: CacheAction,
}

/// What to do with a server's response cache.
#[derive(Debug, Clone, Subcommand)]
pub enum CacheAction {
    /// Tell what it holds and has done, model by model
    Status {
        /// The server.
        #[command(flatten)]
        server: CacheServer,
        /// Write the server's own JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Forget what is known of a model, or of all
    Purge {
        /// The server.
        #[command(flatten)]
        server: CacheServer,
        /// The model
        #[arg(value_name = "MODEL", required_unless_present = "all", conflicts_with = "all")]
        model: Option<String>,
        /// All models
        #[arg(long)]
        all: bool,
    },
}

/// Which server is asked, and how long.
#[derive(Debug, Clone, Args)]
pub struct CacheServer {
    /// Where its REST routes are
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000", value_parser = parse_target)]
    pub url: Target,
    /// Longest wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_positive_duration)]
    pub timeout: Duration,
    /// Who asks.
    #[command(flatten)]
    pub api_key: ApiKeyArgs,
    /// Over TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

fn parse_target(text: &str) -> Result<Target, String> {
    let target = Target::parse(text, None).map_err(|error| format!("{error:#}"))?;
    match target.protocol {
        Protocol::Grpc => Err("the response cache is asked over REST: give an http:// URL".to_owned()),
        Protocol::RestJson | Protocol::RestBinary => Ok(target),
    }
}

/// Does it, and says what is to be printed.
///
/// # Errors
/// Why the server did not do it, or did not answer.
pub async fn cache(args: &CacheArgs) -> anyhow::Result<String> {
    match &args.action {
        CacheAction::Status { server, json } => {
            let body = ask(server, "/v2/cache", get_request).await?;
            if *json {
                return Ok(format!("{body}\n"));
            }
            table(&body).context("the answer is not that of a response cache")
        }
        CacheAction::Purge { server, model, .. } => {
            let path = match model {
                None => "/v2/cache/purge".to_owned(),
                Some(model) => {
                    let model = utf8_percent_encode(model, NON_ALPHANUMERIC);
                    format!("/v2/cache/models/{model}/purge")
                }
            };
            let body = ask(server, &path, empty_post).await?;
            let Purged { purged } =
                serde_json::from_str(&body).context("the answer says nothing of a purge")?;
            Ok(format!("{purged} answers forgotten\n"))
        }
    }
}

type Write = fn(&Target, &str, &[(http::HeaderName, http::HeaderValue)]) -> Vec<u8>;

async fn ask(server: &CacheServer, path: &str, write: Write) -> anyhow::Result<String> {
    let CacheServer { url, timeout, api_key, tls } = server;
    tls.fit(&[url])?;
    let path = format!("{}{path}", url.base_path);
    let mut client = Http1Client::new(Connector::new(url, tls)?, *timeout);
    let answer = client.call(&write(url, &path, &api_key.headers()?), Keep::Body).await;
    let answer = answer.with_context(|| format!("{}{path}", url.address))?;
    String::from_utf8(answer.body.to_vec()).context("the answer is not text")
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

#[derive(Deserialize)]
struct Status {
    memory: Memory,
    shared: Option<Shared>,
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Memory {
    capacity_bytes: u64,
    bytes: u64,
    entries: u64,
}

#[derive(Deserialize)]
struct Shared {
    tier: String,
    left_alone: bool,
    hits: u64,
    misses: u64,
    failures: u64,
    /// Servers of before do not tell.
    #[serde(default)]
    purges_pending: u64,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    version: String,
    entries: u64,
    bytes: u64,
    hits: u64,
    stale: u64,
    coalesced: u64,
    misses: u64,
    bypassed: u64,
    evictions: u64,
}

const COLUMNS: [&str; 10] = [
    "MODEL",
    "VERSION",
    "ENTRIES",
    "BYTES",
    "HITS",
    "STALE",
    "COALESCED",
    "MISSES",
    "BYPASSED",
    "EVICTED",
];

fn table(body: &str) -> anyhow::Result<String> {
    let Status { memory, shared, models } = serde_json::from_str(body)?;
    let Memory { capacity_bytes, bytes, entries } = memory;
    let mut out = format!("memory: {entries} answers, {bytes} of {capacity_bytes} bytes\n");
    if let Some(Shared { tier, left_alone, hits, misses, failures, purges_pending }) = shared {
        let state = if left_alone { ", left alone after failures" } else { "" };
        write!(out, "{tier}: {hits} hits, {misses} misses, {failures} failures{state}")?;
        if purges_pending > 0 {
            write!(out, ", {purges_pending} purges that other replicas do not know of yet")?;
        }
        out.push('\n');
    }
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    lines.extend(models.into_iter().map(|model| {
        let Model {
            name,
            version,
            entries,
            bytes,
            hits,
            stale,
            coalesced,
            misses,
            bypassed,
            evictions,
        } = model;
        let counts = [
            entries, bytes, hits, stale, coalesced, misses, bypassed, evictions,
        ];
        let [a, b, c, d, e, f, g, h] = counts.map(|count| count.to_string());
        [name, version, a, b, c, d, e, f, g, h]
    }));
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    ensure!(widths.iter().all(|width| *width > 0), "a column has no name");
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(out, "{cell:<width$}")?,
                _ => write!(out, "  {cell:>width$}")?,
            }
        }
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_tells_is_a_table() {
        let body = r#"{"memory":{"capacity_bytes":1000,"bytes":500,"entries":2},
            "shared":{"tier":"redis","left_alone":true,"hits":1,"misses":2,"failures":3,"purges_pending":1,"later":4},
            "models":[{"name":"m","version":"1","entries":2,"bytes":500,"hits":12345,"stale":0,"coalesced":0,
            "misses":2,"bypassed":0,"evictions":0,"rows_found":1,"rows_run":2}]}"#;
        let expected = "\
memory: 2 answers, 500 of 1000 bytes
redis: 1 hits, 2 misses, 3 failures, left alone after failures, 1 purges that other replicas do not know of yet
MODEL  VERSION  ENTRIES  BYTES   HITS  STALE  COALESCED  MISSES  BYPASSED  EVICTED
m            1        2    500  12345      0          0       2         0        0
";
        assert_eq!(table(body).unwrap(), expected);
        assert!(table("{}").is_err());
    }
}
