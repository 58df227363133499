//! `adulis serve`: sockets, loading, signals, draining.

mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use adulis_http::{CorsOptions, Drained, Listener, ListenerOptions, Router, SageMakerOptions, VertexOptions};
use adulis_telemetry::ConnectionMetrics;
use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::tls::ServeTls;
use crate::Adulis;
use crate::config::Config;

/// What `serve` needs beside the server itself.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where REST is served; `None` nowhere.
    pub http: Option<SocketAddr>,
    /// Where gRPC is served; the same address as `http` shares its port.
    pub grpc: Option<SocketAddr>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Where Amazon SageMaker is answered, and how.
    pub sagemaker: Option<(SocketAddr, SageMakerOptions)>,
    /// Where Google Vertex AI is answered, and how.
    pub vertex_ai: Option<(SocketAddr, VertexOptions)>,
    /// What pages of other origins may do over REST; `None`: nothing.
    pub cors: Option<CorsOptions>,
    /// TLS; `None`: all listeners speak in plain.
    pub tls: Option<ServeTls>,
    /// Limits of every listener.
    pub listener: ListenerOptions,
    /// How long requests are still accepted after a signal, while readiness is red already.
    pub lame_duck: Duration,
    /// How long the store may take to write what it has to, when all requests are answered.
    pub store_timeout: Duration,
}

impl ServeOptions {
    /// The options that a configuration gives, without its TLS: see [`ServeTls::of`].
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            http: config.server.http,
            grpc: config.server.grpc,
            metrics: config.server.metrics,
            sagemaker: config.sagemaker.serve(),
            vertex_ai: config.vertex_ai.serve(),
            cors: config.server.cors.options(),
            tls: None,
            listener: config.listener(),
            lame_duck: config.server.lame_duck,
            store_timeout: config.store.shutdown_timeout,
        }
    }
}

/// Serves until SIGTERM or SIGINT, then drains: readiness turns red, new connections are accepted for the lame-duck time,
/// requests in flight are finished. A second signal ends it at once.
///
/// # Errors
/// If an address cannot be bound or signals cannot be caught; [`crate::BuildError`] if a repository cannot be mirrored.
pub async fn serve(adulis: Adulis, options: ServeOptions) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let (stop, stop_metrics) = (CancellationToken::new(), CancellationToken::new());
    let mut listeners = JoinSet::new();
    let connections = ConnectionMetrics::register(adulis.registry());
    for (name, address, router) in routers(&adulis, &options) {
        let listener = bind(name, address, &options)?.metrics(connections.listener(name));
        let stop = if name == "metrics" { stop_metrics.clone() } else { stop.clone() };
        let serving = async move { (name, listener.serve(router, stop.cancelled_owned()).await) };
        listeners.spawn(serving);
    }
    let _fresh = options.tls.as_ref().map(ServeTls::keep_fresh).transpose()?;
    let mut loading = tokio::task::spawn_blocking({
        let adulis = adulis.clone();
        move || adulis.try_load()
    });
    let mut loaded = false;
    let signal = loop {
        tokio::select! {
            signal = signals.next() => break signal,
            outcome = &mut loading, if !loaded => {
                // Without its models there is nothing to serve; whoever started it tries again, or tells somebody.
                outcome.context("the thread that loads models panicked")??;
                loaded = true;
            }
        }
    };
    tracing::info!(signal, in_flight = adulis.engine().requests_in_flight(), "shutting down");
    adulis.engine().begin_drain();
    let drained = async {
        tokio::time::sleep(options.lame_duck).await;
        stop.cancel();
        let metrics = usize::from(options.metrics.is_some());
        while listeners.len() > metrics {
            log_drained(listeners.join_next().await);
        }
        stop_metrics.cancel();
        while let Some(ended) = listeners.join_next().await {
            log_drained(Some(ended));
        }
        adulis.close(options.store_timeout).await;
        // A load in progress cannot be stopped; what it loads is dropped with the engine.
        if !loaded {
            drop(loading.await);
        }
    };
    tokio::select! {
        () = drained => tracing::info!("stopped"),
        signal = signals.next() => {
            tracing::warn!(signal, in_flight = adulis.engine().requests_in_flight(), "second signal: stopping at once");
            std::process::exit(1);
        }
    }
    Ok(())
}

/// What is served where. REST and gRPC on one address become one router.
fn routers(adulis: &Adulis, options: &ServeOptions) -> Vec<(&'static str, SocketAddr, Router)> {
    let mut routers = Vec::new();
    let shared = options.http.is_some_and(|http| http.port() != 0) && options.http == options.grpc;
    if let Some(address) = options.http {
        let rest = adulis.rest().merge(adulis.v1());
        let router = if shared { rest.merge(adulis.grpc()) } else { rest };
        let router = router.fallback(adulis_http::not_found);
        let router = match &options.cors {
            Some(cors) => adulis_http::with_cors(router, cors),
            None => router,
        };
        let name = if shared { "http+grpc" } else { "http" };
        routers.push((name, address, router));
    }
    if let Some(address) = options.grpc.filter(|_| !shared) {
        routers.push(("grpc", address, adulis.grpc().fallback(adulis_http::not_found)));
    }
    if let Some((address, options)) = options.sagemaker.clone() {
        let router = adulis.sagemaker(options).fallback(adulis_http::not_found);
        routers.push(("sagemaker", address, router));
    }
    if let Some((address, options)) = options.vertex_ai.clone() {
        let router = adulis.vertex_ai(options).fallback(adulis_http::not_found);
        routers.push(("vertex_ai", address, router));
    }
    if let Some(address) = options.metrics {
        routers.push(("metrics", address, adulis.metrics()));
    }
    routers
}

fn bind(name: &'static str, address: SocketAddr, options: &ServeOptions) -> anyhow::Result<Listener> {
    let listener = Listener::bind(address, options.listener.clone()).with_context(|| match name {
        "sagemaker" | "vertex_ai" => {
            format!("cannot listen on {address} for {name}: choose another port with --set {name}.port=PORT")
        }
        _ => format!("cannot listen on {address} for {name}: choose another address with --{name} ADDR:PORT, or \"off\""),
    })?;
    let (listener, is_tls) = match &options.tls {
        Some(tls) => tls.on(name, listener, &options.listener)?,
        None => (listener, false),
    };
    for address in listener.local_addresses()? {
        if is_tls {
            tracing::info!(protocol = name, %address, tls = true, "listening");
        } else {
            tracing::info!(protocol = name, %address, "listening");
        }
    }
    Ok(listener)
}

fn log_drained(ended: Option<Result<(&'static str, Drained), tokio::task::JoinError>>) {
    match ended {
        Some(Ok((listener, Drained { forced: 0 }))) => tracing::debug!(listener, "drained"),
        Some(Ok((listener, Drained { forced }))) => {
            tracing::warn!(
                listener,
                connections = forced,
                "connections were cut off at the end of the drain time"
            );
        }
        Some(Err(error)) => tracing::error!(%error, "a listener failed"),
        None => {}
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
