//! Bare echo servers: what Axum and tonic cost by themselves, for ratios.
//!
//! REST: `POST` to any path reads the body and answers with it. gRPC: `ModelInfer` answers each raw input as a raw
//! output. Both on tokio's multi-threaded runtime, as `adulis` runs, and with its allocator.

mod grpc;
mod rest;

use std::net::SocketAddr;

use anyhow::ensure;
use clap::Parser;
use tokio::net::TcpListener;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bare echo servers that benchmarks take their ratios against.
#[derive(Debug, Parser)]
struct Args {
    /// Address of the REST echo; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,

    /// Address of the gRPC echo
    #[arg(long, value_name = "ADDR:PORT")]
    grpc: Option<SocketAddr>,

    /// Threads of the runtime; as many as cores if left out
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.http.is_some() || args.grpc.is_some(), "nothing to serve: give --http or --grpc");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        runtime.worker_threads(threads.into());
    }
    runtime.enable_all().build()?.block_on(serve(args))
}

/// Serves until one of the servers fails. Says on standard error where it listens.
async fn serve(args: Args) -> anyhow::Result<()> {
    let mut servers = tokio::task::JoinSet::new();
    if let Some(address) = args.http {
        let listener = TcpListener::bind(address).await?;
        eprintln!("http {}", listener.local_addr()?);
        servers.spawn(rest::serve(listener));
    }
    if let Some(address) = args.grpc {
        let listener = TcpListener::bind(address).await?;
        eprintln!("grpc {}", listener.local_addr()?);
        servers.spawn(grpc::serve(listener));
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}
