use std::time::Duration;

use adulis_protocol::grpc::{ServerReadyRequest, ServerReadyResponse};
use anyhow::{Context, anyhow, ensure};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;

use crate::api_key::ApiKeyArgs;
use crate::args::parse_positive_duration;
use crate::client::Keep;
use crate::codec::get_request;
use crate::connect::{Connector, TlsArgs};
use crate::grpc::{GrpcClient, GrpcConnection, frame};
use crate::http1::Http1Client;
use crate::target::{Protocol, Target};

const SERVER_READY: &str = "/inference.GRPCInferenceService/ServerReady";
/// What is asked of a REST server whose URL names no path.
const READY: &str = "/v2/health/ready";

const EXAMPLES: &str = "\
Examples:
  adulis probe                                      is the server on port 8000 of this machine ready?
  adulis probe http://127.0.0.1:9000/v2/models/digits/ready
  adulis probe grpc://127.0.0.1:8001 --timeout 500ms
  adulis probe https://localhost:8000 --ca ca.pem

Exit codes: 0 it is, 1 it is not or did not answer in time, 2 the command line is at fault.";

/// Asks a server once whether it is well, for the health checks of containers.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ProbeArgs {
    /// What to ask: GET of an http:// URL (without a path: /v2/health/ready), ServerReady of a grpc:// one; https:// and grpcs://
    /// over TLS
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8000/v2/health/ready", value_parser = parse_target)]
    pub target: Target,
    /// Longest wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_positive_duration)]
    pub timeout: Duration,
    /// Who asks, where health is not told to everybody.
    #[command(flatten)]
    pub api_key: ApiKeyArgs,
    /// Over TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

fn parse_target(text: &str) -> Result<Target, String> {
    Target::parse(text, None).map_err(|error| format!("{error:#}"))
}

/// Asks once. `Ok` where the server answered in time that it is well: with a 2xx status, or `ready: true` over gRPC.
///
/// # Errors
/// Why it is not well, or did not answer.
pub async fn probe(args: &ProbeArgs) -> anyhow::Result<()> {
    let ProbeArgs { target, timeout, api_key, tls } = args;
    tls.fit(&[target])?;
    let asking = Asking {
        connector: Connector::new(target, tls)?,
        timeout: *timeout,
        headers: api_key.headers()?,
    };
    let asked = match target.protocol {
        Protocol::Grpc => over_grpc(asking).await,
        Protocol::RestJson | Protocol::RestBinary => over_rest(target, asking).await,
    };
    asked.with_context(|| target.url.clone())
}

/// How a server is asked.
struct Asking {
    connector: Connector,
    timeout: Duration,
    headers: Vec<(HeaderName, HeaderValue)>,
}

async fn over_rest(target: &Target, asking: Asking) -> anyhow::Result<()> {
    let Asking { connector, timeout, headers } = asking;
    let path = if target.base_path.is_empty() { READY } else { &target.base_path };
    let mut client = Http1Client::new(connector, timeout);
    client.call(&get_request(target, path, &headers), Keep::Nothing).await?;
    Ok(())
}

async fn over_grpc(asking: Asking) -> anyhow::Result<()> {
    let Asking { connector, timeout, headers } = asking;
    let framed =
        frame(&ServerReadyRequest {}.encode_to_vec()).ok_or_else(|| anyhow!("the request is too long"))?;
    let connection = GrpcConnection::new(connector);
    let mut client = GrpcClient::new(connection, SERVER_READY, &HeaderMap::from_iter(headers), timeout)?;
    let answer = client.call(&framed, Keep::Body).await?;
    let answer =
        ServerReadyResponse::decode(&answer.body[..]).context("the answer says nothing of readiness")?;
    ensure!(answer.ready, "server is not ready");
    Ok(())
}
