//! The binary: the command line, and nothing else.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use adulis::cli::{
    CertArgs, CertCommand, CheckArgs, Cli, Command, EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_OK, KeysArgs,
    LogArgs, LogCommand, ServeArgs, WorkerArgs,
};
use adulis::config::{Config, Loaded};
use adulis::serve::{Hosting, ServeOptions, ServeTls, Signals};
use adulis::sockets::Sockets;
use adulis::{Adulis, BuildError, ControlMode, Reload, Supervisor, WorkerCommand, check, serve};
use anyhow::Context;
use clap::Parser;
use tokio::runtime::Runtime;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Has the last lines of the log written when it is dropped, as at a panic, too.
struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        adulis_telemetry::flush_log();
    }
}

fn main() -> ExitCode {
    let _last_lines = LastLines;
    let code = match Cli::parse().command {
        Command::Serve(args) => run_serve(*args),
        Command::Up(args) => run_up(*args),
        Command::Check(args) => run_check(&args),
        Command::Bench(args) => run_bench(*args),
        Command::Log(args) => run_log(&args),
        Command::Keys(args) => run_keys(&args),
        Command::Probe(args) => run_probe(&args),
        Command::Cache(args) => run_cache(&args),
        Command::Cert(args) => run_cert(&args),
        Command::Worker(args) => run_worker(&args),
    };
    ExitCode::from(code.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        EXIT_FAILURE
    }))
}

/// The configuration to serve with, or the exit code where there is nothing to be served.
fn load_to_serve(args: &ServeArgs) -> anyhow::Result<Result<Loaded, u8>> {
    let loaded = match args.load() {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain(&errors.to_string());
            return Ok(Err(EXIT_CONFIGURATION));
        }
    };
    if args.print_config {
        write!(std::io::stdout(), "{}", loaded.config.to_toml())?;
        return Ok(Err(EXIT_OK));
    }
    if args.check_config {
        return Ok(Err(run_check_config(&loaded)?));
    }
    if loaded.config.repositories.is_empty() {
        complain("error: no models: name a model file, a model's folder or a repository: adulis serve PATH");
        return Ok(Err(EXIT_CONFIGURATION));
    }
    Ok(Ok(loaded))
}

fn run_up(args: ServeArgs) -> anyhow::Result<u8> {
    // Before there are threads.
    let passed = Sockets::inherited()?;
    let Loaded { config, notes, .. } = match load_to_serve(&args)? {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    adulis_telemetry::init_logging(&config.log_options())?;
    for note in &notes {
        tracing::warn!("{note}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(adulis::up::up(args, config, passed))
}

fn run_serve(args: ServeArgs) -> anyhow::Result<u8> {
    // Before there are threads.
    let mut hosting = Hosting { sockets: Sockets::inherited()?, ..Hosting::default() };
    let Loaded { config, notes, .. } = match load_to_serve(&args)? {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let log = adulis_telemetry::init_logging(&config.log_options())?;
    for note in &notes {
        tracing::warn!("{note}");
    }
    if args.supervised {
        let (supervisor, sockets) =
            Supervisor::meet().context("--supervised is for adulis up, which is not there")?;
        (hosting.sockets, hosting.supervisor) = (sockets, Some(supervisor));
    }
    hosting.reload = Some(Reload::new(args, config.clone(), Arc::clone(&log)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("adulis-io")
        .enable_all()
        .build()
        .context("cannot start the I/O threads")?;
    let within = runtime.enter();
    let mut signals = Signals::catch(true)?;
    let adulis = match build(&runtime, &mut signals, with_services(builder(&config).log(log), &config))? {
        Ok(adulis) => adulis,
        Err(code) => {
            drop(within);
            // Not waiting for what may hang.
            runtime.shutdown_background();
            return Ok(code);
        }
    };
    hosting.signals = Some(signals);
    let tls = match config.tls.open(adulis.registry()) {
        Ok(tls) => tls.map(|tls| ServeTls::of(&config.tls, tls)),
        Err(errors) => {
            complain(&errors.to_string());
            return Ok(EXIT_CONFIGURATION);
        }
    };
    drop(within);
    let options = ServeOptions { tls, ..ServeOptions::of(&config) };
    let code = match runtime.block_on(serve::serve_hosted(adulis.clone(), options, hosting)) {
        Ok(()) => EXIT_OK,
        Err(error) if error.is::<BuildError>() => {
            complain(&format!("error: {error}"));
            EXIT_CONFIGURATION
        }
        Err(error) => {
            complain(&format!("error: {error:#}"));
            EXIT_FAILURE
        }
    };
    end(adulis, runtime, code)
}

/// Builds the server on a thread that may block, within the runtime: what the server talks to is connected to while it starts.
/// The exit code where there is nothing to be served, as when the process is told to stop before that is done.
fn build(
    runtime: &Runtime,
    signals: &mut Signals,
    builder: adulis::Builder,
) -> anyhow::Result<Result<Adulis, u8>> {
    let building = runtime.spawn_blocking(|| builder.build());
    let built = runtime.block_on(async {
        tokio::select! {
            built = building => built.context("the thread that builds the server panicked").map(Some),
            signal = signals.stop() => {
                tracing::info!(signal, "told to stop before it could serve");
                Ok(None)
            }
        }
    });
    match built? {
        None => Ok(Err(EXIT_OK)),
        Some(Ok(adulis)) => Ok(Ok(adulis)),
        Some(Err(error)) if error.is_configuration() => {
            complain(&format!("error: {error}"));
            Ok(Err(EXIT_CONFIGURATION))
        }
        Some(Err(error)) => Err(error.into()),
    }
}

/// How long runs and loads may take when nobody waits for what comes of them any more.
const LAST_RUNS: Duration = Duration::from_secs(5);

/// Ends the server's threads. Those that hang in a run cannot be ended, and keep the process no longer than [`LAST_RUNS`].
fn end(adulis: Adulis, runtime: Runtime, code: u8) -> anyhow::Result<u8> {
    let (ended, waiting) = mpsc::channel::<()>();
    thread::Builder::new().name("adulis-end".to_owned()).spawn(move || {
        if waiting.recv_timeout(LAST_RUNS) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("an execution or a load does not end: the process ends without it");
            adulis_telemetry::flush_log();
            std::process::exit(code.into());
        }
    })?;
    let within = runtime.enter();
    drop(adulis);
    drop(within);
    drop(runtime);
    drop(ended);
    Ok(code)
}

fn run_check_config(loaded: &Loaded) -> anyhow::Result<u8> {
    if let Err(errors) = loaded.config.tls.check_files() {
        complain(&errors.to_string());
        return Ok(EXIT_CONFIGURATION);
    }
    check::check_config(loaded, &mut std::io::stdout())?;
    Ok(EXIT_OK)
}

/// What a server that serves has, and one that checks has not: what it talks to, and who may do what.
fn with_services(mut builder: adulis::Builder, config: &Config) -> adulis::Builder {
    if let Some(options) = config.store() {
        builder = builder.store(options);
    }
    if let Some(cache) = config.cache.shared() {
        builder = builder.shared_cache(cache);
    }
    if let Some((options, redis)) = config.quotas() {
        builder = builder.quotas(options, redis);
    }
    if let Some(redis) = config.lookup.redis.server() {
        builder = builder.lookup_redis(redis);
    }
    if let Some(access) = config.access() {
        builder = builder.access(access);
    }
    if config.auth.enabled || config.audit.file.is_some() {
        builder = builder.audit(config.audit.file.clone());
    }
    builder
}

fn builder(config: &Config) -> adulis::Builder {
    let mut builder = Adulis::builder()
        .settings(config.settings())
        .http(config.http())
        .grpc(config.grpc())
        .max_in_flight_bytes(config.server.max_in_flight_bytes)
        .trace(config.trace.clone())
        .workers(WorkerCommand::this_program(WorkerArgs::of(config)), config.workers.clone());
    #[cfg(feature = "onnxruntime")]
    {
        builder = builder.onnxruntime(config.onnxruntime());
    }
    #[cfg(feature = "object-storage")]
    {
        builder = builder.storage(config.storage.options());
    }
    for path in &config.repositories {
        builder = builder.models(path);
    }
    if let Some(options) = config.shared_memory() {
        builder = builder.shared_memory(options);
    }
    builder
}

fn run_check(args: &CheckArgs) -> anyhow::Result<u8> {
    // How storage is reached is configured, too.
    let is_configured = args.load || args.names_a_url();
    let mut config = match is_configured.then(|| args.serve().load()).transpose() {
        Ok(loaded) => loaded.map(|loaded| loaded.config).unwrap_or_default(),
        Err(errors) => {
            complain(&errors.to_string());
            return Ok(EXIT_CONFIGURATION);
        }
    };
    // All that there is, whenever the server would load it.
    config.control = ControlMode::None;
    Ok(check::check(args, &config, || builder(&config).build(), &mut std::io::stdout())?)
}

fn run_bench(args: adulis_bench::BenchArgs) -> anyhow::Result<u8> {
    // The sending threads have runtimes of their own; this one only keeps time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(adulis_bench::run(args))?.failure {
        None => Ok(EXIT_OK),
        Some(failure) => {
            complain(&failure);
            Ok(EXIT_FAILURE)
        }
    }
}

fn run_log(args: &LogArgs) -> anyhow::Result<u8> {
    let LogCommand::Export(args) = &args.command;
    with_configuration(&args.serve(), |runtime, config| {
        let records = runtime.block_on(adulis::log::export(args, config))?;
        complain(&format!("{records} records"));
        Ok(())
    })
}

fn run_keys(args: &KeysArgs) -> anyhow::Result<u8> {
    with_configuration(&args.serve(), |runtime, config| {
        let told = runtime.block_on(adulis::keys::run(&args.command, config))?;
        write!(std::io::stdout(), "{}", told.out)?;
        write!(std::io::stderr(), "{}", told.aside)?;
        Ok(())
    })
}

/// Does what a command does with the configuration of a server, and says what is wrong with that.
fn with_configuration(
    args: &ServeArgs,
    work: impl FnOnce(&Runtime, &Config) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    let loaded = match args.load() {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain(&errors.to_string());
            return Ok(EXIT_CONFIGURATION);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    work(&runtime, &loaded.config)?;
    Ok(EXIT_OK)
}

fn run_probe(args: &adulis_bench::ProbeArgs) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(adulis_bench::probe(args))?;
    Ok(EXIT_OK)
}

fn run_cache(args: &adulis_bench::CacheArgs) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(adulis_bench::cache(args))?;
    write!(std::io::stdout(), "{told}")?;
    Ok(EXIT_OK)
}

fn run_cert(args: &CertArgs) -> anyhow::Result<u8> {
    let CertCommand::Dev(args) = &args.command;
    write!(std::io::stdout(), "{}", adulis::cert::dev(args)?)?;
    Ok(EXIT_OK)
}

fn run_worker(args: &WorkerArgs) -> anyhow::Result<u8> {
    let loaded = match args.load() {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain(&errors.to_string());
            return Ok(EXIT_CONFIGURATION);
        }
    };
    adulis_telemetry::init_logging(&loaded.config.log_options())?;
    builder(&loaded.config).run_worker()?;
    Ok(EXIT_OK)
}

/// A word to the person at the terminal, behind what was logged. If nobody can read it, there is nobody to tell.
fn complain(text: &str) {
    adulis_telemetry::flush_log();
    let _ = writeln!(std::io::stderr(), "{text}");
}
