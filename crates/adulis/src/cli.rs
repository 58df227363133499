//! The command line: what it looks like, and how flags become settings. The subcommands themselves are elsewhere.

mod cert;
mod keys;
mod log;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use toml::Value;

pub use self::cert::{CertArgs, CertCommand, DevArgs};
pub use self::keys::{CreateArgs, KeysArgs, KeysCommand};
pub use self::log::{ExportArgs, ExportFormat, LogArgs, LogCommand};
use crate::config::{ConfigErrors, Layers, Loaded};
use crate::repositories::url_of;

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// Something failed while running.
pub const EXIT_FAILURE: u8 = 1;
/// The command line or the configuration is at fault. clap's own code for usage errors.
pub const EXIT_CONFIGURATION: u8 = 2;

const EXIT_CODES: &str = "Exit codes: 0 all went well, 1 something failed, 2 the command line, the configuration \
                          or a path that it names is at fault.";

const SERVE_EXAMPLES: &str = "\
Examples:
  adulis serve model.onnx                     one model, everything derived from it
  adulis serve models/                        a repository in Triton's layout
  adulis serve models/ --http :9000 --grpc :9000
                                              REST and gRPC on one port
  adulis serve models/ --model-control-mode explicit --load-model digits
                                              models by request, digits from the start
  adulis serve s3://bucket/models             a repository in object storage; also gs:// and as://
  adulis serve --config adulis.toml           all from a file
  adulis serve models/ --tls-cert server.pem --tls-key server-key.pem
                                              over TLS: see adulis cert dev
  adulis serve models/ --set engine.onnxruntime.intra_op_threads=4
  adulis serve models/ --print-config > adulis.toml

Settings come from, weakest first: the defaults, adulis.toml, the environment (ADULIS_HTTP, ADULIS_LOG_FORMAT …), flags.
docs/configuration.md lists them all.
Exit codes: 0 stopped as asked, 1 something failed while running, 2 the command line or the configuration is at fault.";

/// An AI inference server on Axum: a folder of models becomes a microservice.
#[derive(Debug, Parser)]
#[command(name = "adulis", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve models over REST and gRPC
    Serve(Box<ServeArgs>),
    /// Serve, and start the server again when it ends; SIGHUP or SIGUSR2 replaces it without losing a request
    Up(Box<ServeArgs>),
    /// Check models and repositories, and tell every problem
    Check(CheckArgs),
    /// Put load on a server and measure it
    Bench(Box<adulis_bench::BenchArgs>),
    /// Read the inference log
    Log(LogArgs),
    /// Make, list, replace and revoke API keys
    Keys(KeysArgs),
    /// Ask a server once whether it is ready, and say so with the exit code
    Probe(adulis_bench::ProbeArgs),
    /// Look at a server's response cache, or purge it
    Cache(adulis_bench::CacheArgs),
    /// Make certificates to develop with
    Cert(CertArgs),
    /// Run the engine of one model for a server, which starts it
    #[command(hide = true)]
    Worker(WorkerArgs),
}

/// `adulis serve`.
#[derive(Debug, Default, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// Model files, model folders, repositories and URLs of repositories; they take the place of `repositories` in the
    /// configuration
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Configuration file [default: adulis.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "ADULIS_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// What the server calls itself in its metadata [default: adulis]
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,
    /// Address of REST, or off [default: 0.0.0.0:8000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<String>,
    /// Address of gRPC, or off; the same as --http shares its port [default: 0.0.0.0:8001]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub grpc: Option<String>,
    /// Address of metrics, or off [default: 0.0.0.0:8002]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<String>,
    /// Certificate in PEM, with which all ports speak TLS; may be repeated, each with its --tls-key
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Vec<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Vec<PathBuf>,
    /// Authorities, in PEM, whose certificates clients may show; may be repeated
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Vec<PathBuf>,
    /// Whether clients show certificates: off, optional or required [default: off]
    #[arg(long, value_name = "MODE")]
    pub tls_client_auth: Option<String>,
    /// Who says which models are loaded: none (all at start), explicit (requests) or poll (the repositories' state)
    /// [default: none]
    #[arg(long, value_name = "MODE")]
    pub model_control_mode: Option<String>,
    /// With explicit model control, a model to load at start, or * for all; may be repeated
    #[arg(long, value_name = "NAME")]
    pub load_model: Vec<String>,
    /// With model control by polling, how many seconds lie between two looks at the repositories [default: 15]
    #[arg(long, value_name = "SECONDS")]
    pub repository_poll_secs: Option<u32>,
    /// Engines to try, in order, for models that name none [default: onnxruntime,tract]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub engine: Vec<String>,
    /// Threads that run models [default: one per core]
    #[arg(long, value_name = "COUNT")]
    pub execution_threads: Option<u32>,
    /// Run engines in this many worker processes for each model, so that a crash costs no request [default: none, in the
    /// server's own process]
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<u32>,
    /// Whether runs wait for the resources that models say they need: off or execution_count [default: off]
    #[arg(long, value_name = "MODE")]
    pub rate_limit: Option<String>,
    /// With --rate-limit execution_count, how much there is of a resource, on every device or on one; may be repeated
    #[arg(long, value_name = "NAME:COUNT[:DEVICE]")]
    pub rate_limit_resource: Vec<String>,
    /// Most bytes that the response cache takes in memory, or off [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub cache_memory_bytes: Option<String>,
    /// How long cached answers are given, or off, for models that do not say [default: off]
    #[arg(long, value_name = "DURATION")]
    pub cache_ttl: Option<String>,
    /// Cache every model that can be, whether its configuration says so or not
    #[arg(long)]
    pub cache_all_models: bool,
    /// The response cache's size, as Triton takes it: local,size=BYTES
    #[arg(long, value_name = "CACHE,SETTING=VALUE", value_parser = parse_cache_config)]
    pub cache_config: Vec<u64>,
    /// Let clients on this machine register shared memory regions, which the server then reads and writes
    #[arg(long)]
    pub shared_memory: bool,
    /// Headers of REST requests that become parameters of them: a regular expression that part of the name must match
    #[arg(long, value_name = "PATTERN")]
    pub http_header_forward_pattern: Option<String>,
    /// The same for metadata of gRPC calls
    #[arg(long, value_name = "PATTERN")]
    pub grpc_header_forward_pattern: Option<String>,
    /// REST APIs that are kept for requests with a header of this value, as Triton takes it; may be repeated
    #[arg(long, value_name = "APIS:KEY=VALUE")]
    pub http_restricted_api: Vec<String>,
    /// The same of gRPC, in metadata triton-grpc-protocol-KEY
    #[arg(long, value_name = "APIS:KEY=VALUE")]
    pub grpc_restricted_protocol: Vec<String>,
    /// What is traced, as Triton takes it: rate, level (may be repeated), count, mode, and triton,file and
    /// triton,log-frequency
    #[arg(long, value_name = "SETTING=VALUE", value_parser = parse_setting)]
    pub trace_config: Vec<(String, String)>,
    /// Format of the log: auto, text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Level of the log, or directives as info,adulis_engine=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Any setting by its key; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<(String, String)>,
    /// Check the configuration, say OK or every problem, and exit
    #[arg(long)]
    pub check_config: bool,
    /// Print the configuration that results, as TOML, and exit
    #[arg(long, conflicts_with = "check_config")]
    pub print_config: bool,
    /// Take sockets from `adulis up` at standard input
    #[arg(long, hide = true)]
    pub supervised: bool,
}

/// `adulis worker`, which no person calls.
#[derive(Debug, Default, Args)]
pub struct WorkerArgs {
    /// A setting by its key; the file and the environment are not read
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<(String, String)>,
}

impl WorkerArgs {
    /// What a server with this configuration calls its workers with.
    #[must_use]
    pub fn of(config: &crate::config::Config) -> Vec<std::ffi::OsString> {
        let engine = &config.engine.onnxruntime;
        let text = |text: &str| Value::String(text.to_owned()).to_string();
        let library = engine.library.as_ref().map(|path| text(&path.to_string_lossy()));
        let settings = [
            ("engine.onnxruntime.library", library),
            ("engine.onnxruntime.intra_op_threads", Some(engine.intra_op_threads.to_string())),
            ("engine.onnxruntime.inter_op_threads", Some(engine.inter_op_threads.to_string())),
            ("engine.onnxruntime.spinning", Some(engine.spinning.to_string())),
            ("log.format", Some(text(config.log.format.as_str()))),
            ("log.filter", Some(text(&config.log.filter))),
        ];
        let set = settings.into_iter().filter_map(|(key, value)| Some(format!("--set={key}={}", value?)));
        ["worker".to_owned()].into_iter().chain(set).map(Into::into).collect()
    }

    /// The configuration of this command line alone.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        let flag = |(key, value): &(String, String)| (key.clone(), parse_value(value), "--set".to_owned());
        // No file is in what is no folder.
        let folder = PathBuf::from("/dev/null");
        Layers { folder, flags: self.set.iter().map(flag).collect(), ..Layers::default() }.load()
    }
}

const CHECK_CODES: &str = "Exit codes: 0 all is sound, 1 something is wrong, 2 the command line is at fault.";

/// `adulis check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_CODES)]
pub struct CheckArgs {
    /// Model files, model folders, repositories and URLs of repositories
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Load every model, too, with the engine that would serve it, as `adulis serve` would: that takes its time and memory
    #[arg(long)]
    pub load: bool,
    /// Configuration file, for --load and URLs [default: adulis.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "ADULIS_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Engines to try, in order, for models that name none [default: onnxruntime,tract]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "load")]
    pub engine: Vec<String>,
    /// Write one JSON document, for programs
    #[arg(long)]
    pub json: bool,
}

impl CheckArgs {
    /// Whether any of the paths is the URL of a repository elsewhere.
    #[must_use]
    pub fn names_a_url(&self) -> bool {
        self.paths.iter().any(|path| url_of(path).is_some())
    }

    /// The command line that would serve the same.
    #[must_use]
    pub fn serve(&self) -> ServeArgs {
        ServeArgs {
            paths: self.paths.clone(),
            config: self.config.clone(),
            engine: self.engine.clone(),
            ..ServeArgs::default()
        }
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected KEY=VALUE, for example engine.load_threads=2".to_owned()),
    }
}

/// Triton's way to give its local cache a size; of its other caches there is none here.
fn parse_cache_config(text: &str) -> Result<u64, String> {
    let size = text.strip_prefix("local,").and_then(|setting| setting.strip_prefix("size="));
    let bytes = size.and_then(|size| size.trim().parse().ok()).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| {
        "expected local,size=BYTES; other caches are set in [cache] of the configuration".to_owned()
    })
}

impl ServeArgs {
    /// The configuration of this command line, in this process's environment and folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.layers(std::env::vars_os().collect()).load()
    }

    /// The layers of this command line over an environment.
    #[must_use]
    pub fn layers(&self, environment: Vec<(std::ffi::OsString, std::ffi::OsString)>) -> Layers {
        Layers {
            file: self.config.clone(),
            folder: PathBuf::new(),
            environment,
            flags: self.flags(),
        }
    }

    fn flags(&self) -> Vec<(String, Value, String)> {
        let mut flags = Vec::new();
        let mut add = |path: &str, value: Option<Value>, flag: &str| {
            flags.extend(value.map(|value| (path.to_owned(), value, flag.to_owned())));
        };
        for (key, value) in &self.set {
            add(key, Some(parse_value(value)), "--set");
        }
        let text = |value: &Option<String>| value.clone().map(Value::String);
        add("server.name", text(&self.id), "--id");
        add("server.http", text(&self.http), "--http");
        add("server.grpc", text(&self.grpc), "--grpc");
        add("server.metrics", text(&self.metrics), "--metrics");
        add("model_control_mode", text(&self.model_control_mode), "--model-control-mode");
        let seconds = self.repository_poll_secs.map(|seconds| Value::Integer(i64::from(seconds)));
        add("repository_poll_seconds", seconds, "--repository-poll-secs");
        let (http, grpc) = (&self.http_header_forward_pattern, &self.grpc_header_forward_pattern);
        add("server.http_header_forward_pattern", text(http), "--http-header-forward-pattern");
        add("server.grpc_header_forward_pattern", text(grpc), "--grpc-header-forward-pattern");
        for (key, value) in trace_settings(&self.trace_config) {
            add(&key, Some(value), "--trace-config");
        }
        for bytes in &self.cache_config {
            let bytes = i64::try_from(*bytes).unwrap_or(i64::MAX);
            add("cache.memory_bytes", Some(Value::Integer(bytes)), "--cache-config");
        }
        add("cache.memory_bytes", text(&self.cache_memory_bytes), "--cache-memory-bytes");
        add("cache.ttl", text(&self.cache_ttl), "--cache-ttl");
        let all_models = self.cache_all_models.then_some(Value::Boolean(true));
        add("cache.all_models", all_models, "--cache-all-models");
        add("log.format", text(&self.log_format), "--log-format");
        add("log.filter", text(&self.log_level), "--log-level");
        let threads = self.execution_threads.map(|threads| Value::Integer(i64::from(threads)));
        add("engine.execution_threads", threads, "--execution-threads");
        if let Some(count) = self.workers {
            add("workers.isolation", Some(Value::String("process".to_owned())), "--workers");
            add("workers.count", Some(Value::Integer(i64::from(count))), "--workers");
        }
        add(
            "shared_memory.enabled",
            self.shared_memory.then_some(Value::Boolean(true)),
            "--shared-memory",
        );
        let list = |items: Vec<String>| {
            let items: Vec<Value> = items.into_iter().map(Value::String).collect();
            Some(Value::Array(items))
        };
        let paths = |paths: &[PathBuf]| {
            (!paths.is_empty()).then(|| {
                let paths = paths.iter().map(|path| Value::String(path.to_string_lossy().into_owned()));
                Value::Array(paths.collect())
            })
        };
        add("tls.certificate_files", paths(&self.tls_cert), "--tls-cert");
        add("tls.key_files", paths(&self.tls_key), "--tls-key");
        add("tls.client_ca_files", paths(&self.tls_client_ca), "--tls-client-ca");
        add("tls.client_auth", text(&self.tls_client_auth), "--tls-client-auth");
        if !self.load_model.is_empty() {
            add("load_model", list(self.load_model.clone()), "--load-model");
        }
        add("engine.rate_limit", text(&self.rate_limit), "--rate-limit");
        if !self.rate_limit_resource.is_empty() {
            let resources = list(self.rate_limit_resource.clone());
            add("engine.rate_limit_resource", resources, "--rate-limit-resource");
        }
        if !self.engine.is_empty() {
            add("engine.backends", list(self.engine.clone()), "--engine");
        }
        add("repositories", paths(&self.paths), "PATH");
        flags.extend(self.restricted_apis());
        flags
    }

    fn restricted_apis(&self) -> impl Iterator<Item = (String, Value, String)> {
        let told = [
            ("auth.http_restricted_api", &self.http_restricted_api, "--http-restricted-api"),
            (
                "auth.grpc_restricted_protocol",
                &self.grpc_restricted_protocol,
                "--grpc-restricted-protocol",
            ),
        ];
        let told = told.into_iter().filter(|(_, apis, _)| !apis.is_empty());
        told.map(|(path, apis, flag)| {
            let apis = apis.iter().cloned().map(Value::String).collect();
            (path.to_owned(), Value::Array(apis), flag.to_owned())
        })
    }
}

/// The keys of Triton's trace settings; levels, which it takes one by one, as one list.
fn trace_settings(settings: &[(String, String)]) -> Vec<(String, Value)> {
    let (mut keys, mut levels) = (Vec::new(), Vec::new());
    for (setting, value) in settings {
        let name = setting.strip_prefix("triton,").unwrap_or(setting).replace('-', "_");
        let text = Value::String(value.clone());
        match name.as_str() {
            "level" => levels.push(text),
            "file" | "mode" => keys.push((format!("trace.{name}"), text)),
            _ => keys.push((format!("trace.{name}"), parse_value(value))),
        }
    }
    if !levels.is_empty() {
        keys.push(("trace.level".to_owned(), Value::Array(levels)));
    }
    keys
}

/// A value as TOML writes it; what is not TOML is text.
fn parse_value(text: &str) -> Value {
    let document = format!("value = {text}");
    let parsed = toml::from_str::<toml::Table>(&document).ok();
    // More than one key means that the text had a line break in it.
    let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests;
