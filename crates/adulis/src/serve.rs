//! `adulis serve`: sockets, loading, signals, draining.

mod apart;
mod open_files;
mod signals;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adulis_http::{CorsOptions, Drained, Listener, ListenerOptions, Router, SageMakerOptions, VertexOptions};
use adulis_telemetry::ConnectionMetrics;
use anyhow::Context;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::apart::serve_apart;
pub use self::signals::Signals;
use self::signals::Told;
pub use self::tls::ServeTls;
use crate::Adulis;
use crate::config::Config;
use crate::handover::{Supervisor, Word};
use crate::reload::{Reload, StopTimes};
use crate::sockets::Sockets;

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

    /// What is served where, by the names of sockets.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let shared = self.shares_a_port();
        let http = self.http.map(|address| (if shared { SHARED } else { "http" }, address));
        let grpc = self.grpc.filter(|_| !shared).map(|address| ("grpc", address));
        let sagemaker = self.sagemaker.as_ref().map(|(address, _)| ("sagemaker", *address));
        let vertex_ai = self.vertex_ai.as_ref().map(|(address, _)| ("vertex_ai", *address));
        let metrics = self.metrics.map(|address| (METRICS, address));
        [http, grpc, sagemaker, vertex_ai, metrics].into_iter().flatten().collect()
    }

    fn shares_a_port(&self) -> bool {
        self.http.is_some() && self.http == self.grpc && self.http.map(|http| http.port()) != Some(0)
    }
}

/// REST and gRPC on one port.
const SHARED: &str = "http+grpc";
const METRICS: &str = "metrics";

/// Who else has a part in serving; by default nobody.
#[derive(Default)]
pub struct Hosting {
    /// Sockets that are open already, which are taken in the place of new ones.
    pub sockets: Sockets,
    /// Who is told that the server is ready, and without whom it stops.
    pub supervisor: Option<Supervisor>,
    /// What SIGHUP does. Without it, SIGHUP ends the process as it does any.
    pub reload: Option<Reload>,
    /// Signals that are caught already; else they are from here on.
    pub signals: Option<Signals>,
}

/// Serves until SIGTERM or SIGINT, then drains: readiness turns red, new connections are accepted for the lame-duck time,
/// requests in flight are finished. A second signal ends it at once. Loads that are in progress then are not waited for: the
/// server is dropped when the last of them ends.
///
/// # Errors
/// If an address cannot be bound or signals cannot be caught; [`crate::BuildError`] if a repository cannot be mirrored.
pub async fn serve(adulis: Adulis, options: ServeOptions) -> anyhow::Result<()> {
    serve_hosted(adulis, options, Hosting::default()).await
}

/// The same, with sockets of somebody else, for a supervisor, and with a configuration that can be read again.
///
/// # Errors
/// As [`serve`].
pub async fn serve_hosted(adulis: Adulis, mut options: ServeOptions, hosting: Hosting) -> anyhow::Result<()> {
    let Hosting { mut sockets, supervisor, mut reload, signals } = hosting;
    open_files::raise_limit(&mut options);
    let mut times = StopTimes { lame_duck: options.lame_duck, store_timeout: options.store_timeout };
    let mut signals = signals.map_or_else(|| Signals::catch(reload.is_some()), Ok)?;
    let (open, abandoned) = (CancellationToken::new(), CancellationToken::new());
    let mut listeners = Listeners::start(&adulis, &options, &mut sockets, &open)?;
    match supervisor {
        Some(supervisor) => attend(supervisor, &adulis, open, abandoned.clone())?,
        None => open.cancel(),
    }
    let _fresh = options.tls.as_ref().map(|tls| tls.keep_fresh(adulis.audit())).transpose()?;
    let mut loading = tokio::task::spawn_blocking({
        let adulis = adulis.clone();
        move || adulis.try_load()
    });
    let mut loaded = false;
    let signal = loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::Stop(signal) => break signal,
                Told::Reload => {
                    if let Some(reload) = &mut reload {
                        reload.reload(adulis.trace_control(), adulis.audit().map(|audit| &**audit));
                        times = reload.stop_times();
                    }
                }
            },
            () = abandoned.cancelled() => break "the end of adulis up",
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
        tokio::time::sleep(times.lame_duck).await;
        listeners.drain().await;
        adulis.close(times.store_timeout).await;
    };
    tokio::select! {
        () = drained => tracing::info!("stopped"),
        signal = signals.stop() => {
            tracing::warn!(signal, in_flight = adulis.engine().requests_in_flight(), "second signal: stopping at once");
            adulis_telemetry::flush_log();
            std::process::exit(1);
        }
    }
    Ok(())
}

/// What is being served.
struct Listeners {
    tasks: JoinSet<(&'static str, Drained)>,
    stop: CancellationToken,
    /// Metrics are told until all others have ended.
    stop_metrics: CancellationToken,
    has_metrics: bool,
}

impl Listeners {
    /// Listens everywhere. Nothing is accepted before `open` is cancelled.
    fn start(
        adulis: &Adulis,
        options: &ServeOptions,
        sockets: &mut Sockets,
        open: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let mut listeners = Self {
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
            stop_metrics: CancellationToken::new(),
            has_metrics: options.metrics.is_some(),
        };
        let connections = ConnectionMetrics::register(adulis.registry());
        for (name, address) in options.addresses() {
            let mut listen =
                || Ok(listen(name, address, options, sockets)?.metrics(connections.listener(name)));
            let router = router(name, adulis, options);
            let stop = if name == METRICS { &listeners.stop_metrics } else { &listeners.stop };
            let (open, stop) = (open.clone(), stop.clone());
            let serve = async move |listener: Listener| {
                tokio::select! {
                    () = open.cancelled() => {}
                    () = stop.cancelled() => {}
                }
                listener.serve(router, stop.cancelled_owned()).await
            };
            if name == METRICS {
                let ended = serve_apart(listen, serve)?;
                listeners.tasks.spawn(async move {
                    let panicked = |_| tracing::error!("the thread of the metrics port panicked");
                    (name, ended.await.map_err(panicked).unwrap_or(Drained { forced: 0 }))
                });
            } else {
                let listener = listen()?;
                listeners.tasks.spawn(async move { (name, serve(listener).await) });
            }
        }
        sockets.close_rest();
        Ok(listeners)
    }

    /// Accepts no more, and waits until all connections have ended.
    async fn drain(&mut self) {
        self.stop.cancel();
        while self.tasks.len() > usize::from(self.has_metrics) {
            log_drained(self.tasks.join_next().await);
        }
        self.stop_metrics.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            log_drained(Some(ended));
        }
    }
}

impl Drop for Listeners {
    /// The thread of the metrics port does not end with the tasks here.
    fn drop(&mut self) {
        self.stop_metrics.cancel();
    }
}

/// What is served under a name of [`ServeOptions::addresses`]. REST and gRPC on one port are one router.
fn router(name: &str, adulis: &Adulis, options: &ServeOptions) -> Router {
    let rest = || adulis.rest().merge(adulis.v1());
    let router = match (name, &options.sagemaker, &options.vertex_ai) {
        ("http", ..) => rest(),
        (SHARED, ..) => rest().merge(adulis.grpc()),
        ("grpc", ..) => adulis.grpc(),
        ("sagemaker", Some((_, options)), _) => adulis.sagemaker(options.clone()),
        ("vertex_ai", _, Some((_, options))) => adulis.vertex_ai(options.clone()),
        _ => return adulis.metrics_apart(Handle::current()),
    };
    let router = router.fallback(adulis_http::not_found);
    match (name, &options.cors) {
        ("http" | SHARED, Some(cors)) => adulis_http::with_cors(router, cors),
        _ => router,
    }
}

/// Listens at an address, or takes the socket that does already.
fn listen(
    name: &'static str,
    address: SocketAddr,
    options: &ServeOptions,
    sockets: &mut Sockets,
) -> anyhow::Result<Listener> {
    let taken = sockets.take(name, address)?;
    let listener = match taken {
        Some(socket) => {
            Listener::new(vec![tokio::net::TcpListener::from_std(socket)?], options.listener.clone())
        }
        None => bind(name, address, options.listener.clone())?,
    };
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

fn bind(name: &'static str, address: SocketAddr, options: ListenerOptions) -> anyhow::Result<Listener> {
    Listener::bind(address, options).with_context(|| match name {
        "sagemaker" | "vertex_ai" => {
            format!("cannot listen on {address} for {name}: choose another port with --set {name}.port=PORT")
        }
        _ => format!("cannot listen on {address} for {name}: choose another address with --{name} ADDR:PORT, or \"off\""),
    })
}

/// How often it is looked whether the server is ready, until it is.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Has connections accepted when the server is ready, or when the supervisor says so: beside another server that answers, one
/// that can't yet would only refuse. Tells the supervisor when the server is ready, and notices when it is gone.
fn attend(
    supervisor: Supervisor,
    adulis: &Adulis,
    open: CancellationToken,
    abandoned: CancellationToken,
) -> anyhow::Result<()> {
    let supervisor = Arc::new(supervisor);
    let (told, service, now) = (Arc::clone(&supervisor), Arc::clone(adulis.service()), open.clone());
    tokio::spawn(async move {
        while !service.ready() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        now.cancel();
        if let Err(error) = told.tell_ready() {
            tracing::warn!(%error, "adulis up cannot be told that this server is ready");
        }
    });
    let hear = move || {
        while supervisor.hear() == Word::Serve {
            open.cancel();
        }
        abandoned.cancel();
    };
    // It sleeps in a read.
    let thread = std::thread::Builder::new().name("adulis-supervisor".to_owned()).spawn(hear);
    thread.map(drop).context("cannot start the thread that notices the end of adulis up")
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
