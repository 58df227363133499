use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use adulis_backend::{ExecutionProvider, GraphOptimization};
use adulis_http::HeaderPattern;
use adulis_repository::strict::{Faults, near_miss, read_table};
use adulis_telemetry::LogFormat;
use toml::Value;

use super::raw::{RawConfig, RawEngine, RawLog, RawOnnxRuntime, RawProvider, RawServer};
use super::units::{AUTO, OFF, format_bytes, parse_address, parse_bytes, parse_duration};
use super::{AuditConfig, Config, EngineConfig, LogConfig, MetricsConfig, OnnxRuntimeConfig, ServerConfig};

const MAX_THREADS: i64 = 4096;
/// A day: beyond it a limit is none, or a slip of the unit.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest name of a server.
const MAX_NAME_BYTES: usize = 128;
/// Less would refuse ordinary requests.
const HEADER_BYTES: RangeInclusive<usize> = 1024..=16 << 20;
/// gRPC writes the length of a message in 32 bits.
const GRPC_MESSAGE_BYTES: RangeInclusive<usize> = 1..=u32::MAX as usize;

/// Checks everything; what is at fault keeps its default.
pub(super) fn check(raw: &RawConfig, faults: &mut Faults) -> Config {
    let default = Config::default();
    let mut check = Check { faults };
    let server = check.server(&raw.server, &default.server);
    let config = Config {
        repositories: raw.repositories.clone().unwrap_or_default(),
        strict_readiness: raw.strict_readiness.unwrap_or(default.strict_readiness),
        control: check.control(raw),
        tls: check.tls(&raw.tls, &default.tls, &server),
        server,
        auth: check.auth(&raw.auth, &default.auth),
        audit: AuditConfig::check(&raw.audit),
        quotas: check.quotas((&raw.quotas, &raw.quota_state), &default.quotas),
        engine: check.engine(&raw.engine, &default.engine),
        workers: check.workers(&raw.workers, &default.workers),
        supervisor: check.supervisor(&raw.supervisor, &default.supervisor),
        cache: check.cache(&raw.cache, &default.cache),
        storage: check.storage(&raw.storage, &default.storage),
        shared_memory: check.shared_memory(&raw.shared_memory, &default.shared_memory),
        store: check.store(&raw.store, &default.store),
        lookup: check.lookup(&raw.lookup, &default.lookup),
        inference_log: check.inference_log(&raw.inference_log, &default.inference_log),
        metrics: MetricsConfig::check(&raw.metrics, default.metrics),
        log: check.log(&raw.log, &default.log),
        trace: check.trace(&raw.trace, &default.trace),
        sagemaker: check.sagemaker(&raw.sagemaker, &default.sagemaker),
        vertex_ai: check.vertex_ai(&raw.vertex_ai, &default.vertex_ai),
    };
    check.hosted_ports(&config);
    check.hosted_in_plain(&config);
    check.identities_have_quotas(&config.auth, &config.quotas);
    config
}

/// Checks keys one by one, and collects what is wrong.
pub(super) struct Check<'a> {
    pub(super) faults: &'a mut Faults,
}

impl Check<'_> {
    fn server(&mut self, raw: &RawServer, default: &ServerConfig) -> ServerConfig {
        let at_least_a_moment = Duration::from_millis(1)..=MAX_TIMEOUT;
        let from_zero = Duration::ZERO..=MAX_TIMEOUT;
        let server = ServerConfig {
            name: self.name(raw.name.as_deref()).unwrap_or_else(|| default.name.clone()),
            http: self.address("server.http", raw.http.as_deref(), default.http),
            grpc: self.address("server.grpc", raw.grpc.as_deref(), default.grpc),
            metrics: self.address("server.metrics", raw.metrics.as_deref(), default.metrics),
            max_connections: self
                .whole("server.max_connections", raw.max_connections, 1..=1 << 24)
                .unwrap_or(default.max_connections),
            max_connections_per_peer: self
                .whole("server.max_connections_per_peer", raw.max_connections_per_peer, 0..=1 << 24)
                .unwrap_or(default.max_connections_per_peer),
            header_timeout: self
                .duration("server.header_timeout", raw.header_timeout.as_deref(), &at_least_a_moment)
                .unwrap_or(default.header_timeout),
            body_timeout: self
                .duration("server.body_timeout", raw.body_timeout.as_deref(), &at_least_a_moment)
                .unwrap_or(default.body_timeout),
            min_body_rate: self
                .size_or_off("server.min_body_rate", raw.min_body_rate.as_ref())
                .map_or(default.min_body_rate, Option::unwrap_or_default),
            max_in_flight_bytes: match raw.max_in_flight_bytes.as_ref() {
                Some(Value::String(text)) if text == AUTO => None,
                value => self.bytes("server.max_in_flight_bytes", value).or(default.max_in_flight_bytes),
            },
            idle_timeout: self
                .duration("server.idle_timeout", raw.idle_timeout.as_deref(), &at_least_a_moment)
                .unwrap_or(default.idle_timeout),
            request_timeout: self.duration(
                "server.request_timeout",
                raw.request_timeout.as_deref().filter(|text| *text != OFF),
                &at_least_a_moment,
            ),
            max_header_bytes: self
                .bytes_within("server.max_header_bytes", raw.max_header_bytes.as_ref(), &HEADER_BYTES)
                .and_then(|bytes| u32::try_from(bytes).ok())
                .unwrap_or(default.max_header_bytes),
            max_body_bytes: self
                .bytes("server.max_body_bytes", raw.max_body_bytes.as_ref())
                .unwrap_or(default.max_body_bytes),
            max_load_bytes: self
                .bytes("server.max_load_bytes", raw.max_load_bytes.as_ref())
                .unwrap_or(default.max_load_bytes),
            max_grpc_message_bytes: self.grpc_message_bytes(raw).unwrap_or(default.max_grpc_message_bytes),
            max_grpc_stream_requests: self
                .whole("server.max_grpc_stream_requests", raw.max_grpc_stream_requests, 1..=1 << 20)
                .unwrap_or(default.max_grpc_stream_requests),
            http_header_forward_pattern: self.header_pattern(
                "server.http_header_forward_pattern",
                raw.http_header_forward_pattern.as_deref(),
            ),
            grpc_header_forward_pattern: self.header_pattern(
                "server.grpc_header_forward_pattern",
                raw.grpc_header_forward_pattern.as_deref(),
            ),
            lame_duck: self
                .duration("server.lame_duck", raw.lame_duck.as_deref(), &from_zero)
                .unwrap_or(default.lame_duck),
            drain_timeout: self
                .duration("server.drain_timeout", raw.drain_timeout.as_deref(), &from_zero)
                .unwrap_or(default.drain_timeout),
            http2: self.http2(&raw.http2, &default.http2),
            compression: self.compression(&raw.compression, &default.compression),
            cors: self.cors(&raw.cors, &default.cors),
        };
        self.addresses(&server);
        server
    }

    fn grpc_message_bytes(&mut self, raw: &RawServer) -> Option<usize> {
        let value = raw.max_grpc_message_bytes.as_ref();
        self.bytes_within("server.max_grpc_message_bytes", value, &GRPC_MESSAGE_BYTES)
    }

    /// The server's name, as clients show it.
    fn name(&mut self, name: Option<&str>) -> Option<String> {
        let name = name?;
        if (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control) {
            return Some(name.to_owned());
        }
        let message =
            format!("expected 1 to {MAX_NAME_BYTES} bytes without control characters, got {name:?}");
        self.faults.push_with_remedy("server.name", message, "for example \"adulis\"");
        None
    }

    fn header_pattern(&mut self, key: &str, pattern: Option<&str>) -> Option<HeaderPattern> {
        let pattern = pattern.filter(|pattern| !pattern.is_empty())?;
        match HeaderPattern::parse(pattern) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let message = format!("{pattern:?} is not a pattern: {error}");
                self.faults.push_with_remedy(key, message, "for example \"^my_prefix_\"");
                None
            }
        }
    }

    /// Ports that cannot be together, and nothing served at all.
    fn addresses(&mut self, server: &ServerConfig) {
        if server.http.is_none() && server.grpc.is_none() {
            let message = "REST and gRPC are both off: nothing would be served";
            self.faults.push_with_remedy("server.http", message, "give one of them an address");
        }
        if let Some(metrics) = server.metrics
            && metrics.port() != 0
        {
            for (name, other) in [("http", server.http), ("grpc", server.grpc)] {
                if other == Some(metrics) {
                    let message = format!("{metrics} is server.{name}'s address too");
                    self.faults.push_with_remedy("server.metrics", message, "give it a port of its own");
                    return;
                }
            }
        }
    }

    fn engine(&mut self, raw: &RawEngine, default: &EngineConfig) -> EngineConfig {
        EngineConfig {
            execution_threads: self
                .whole("engine.execution_threads", raw.execution_threads, 0..=MAX_THREADS)
                .unwrap_or(default.execution_threads),
            load_threads: self
                .whole("engine.load_threads", raw.load_threads, 0..=MAX_THREADS)
                .unwrap_or(default.load_threads),
            inline_threshold: self
                .duration(
                    "engine.inline_threshold",
                    raw.inline_threshold.as_deref(),
                    &(Duration::ZERO..=Duration::from_millis(10)),
                )
                .unwrap_or(default.inline_threshold),
            default_max_batch_size: self
                .whole("engine.default_max_batch_size", raw.default_max_batch_size, 1..=1 << 20)
                .unwrap_or(default.default_max_batch_size),
            max_queued_rows: self
                .whole("engine.max_queued_rows", raw.max_queued_rows, 0..=i64::from(u32::MAX))
                .unwrap_or(default.max_queued_rows),
            admission: self.admission(raw).unwrap_or(default.admission),
            max_queue_time: self.max_queue_time(raw),
            max_execution_time: self.duration(
                "engine.max_execution_time",
                raw.max_execution_time.as_deref().filter(|text| *text != OFF),
                &(Duration::from_millis(1)..=MAX_TIMEOUT),
            ),
            max_stuck_threads: self
                .whole("engine.max_stuck_threads", raw.max_stuck_threads, 0..=MAX_THREADS)
                .unwrap_or(default.max_stuck_threads),
            rate_limit: self.rate_limit(raw),
            unload_timeout: self
                .duration(
                    "engine.unload_timeout",
                    raw.unload_timeout.as_deref(),
                    &(Duration::ZERO..=MAX_TIMEOUT),
                )
                .unwrap_or(default.unload_timeout),
            max_override_bytes: self
                .bytes("engine.max_override_bytes", raw.max_override_bytes.as_ref())
                .unwrap_or(default.max_override_bytes),
            backends: self.backends(raw.backends.as_deref()).unwrap_or_else(|| default.backends.clone()),
            graph_optimization: self
                .graph_optimization(raw.graph_optimization.as_deref())
                .unwrap_or(default.graph_optimization),
            providers: raw.providers.as_deref().map_or_else(Vec::new, |providers| self.providers(providers)),
            provider_fallback: raw.provider_fallback.unwrap_or(default.provider_fallback),
            arena: raw.arena.unwrap_or(default.arena),
            optimized_cache: raw.optimized_cache.clone().filter(|path| !path.as_os_str().is_empty()),
            onnxruntime: self.onnxruntime(&raw.onnxruntime, &default.onnxruntime),
        }
    }

    fn onnxruntime(&mut self, raw: &RawOnnxRuntime, default: &OnnxRuntimeConfig) -> OnnxRuntimeConfig {
        let threads = |check: &mut Self, name: &str, value| {
            check.whole(format!("engine.onnxruntime.{name}"), value, 0..=MAX_THREADS)
        };
        OnnxRuntimeConfig {
            library: raw.library.clone().filter(|path| !path.as_os_str().is_empty()),
            intra_op_threads: threads(self, "intra_op_threads", raw.intra_op_threads)
                .unwrap_or(default.intra_op_threads),
            inter_op_threads: threads(self, "inter_op_threads", raw.inter_op_threads)
                .unwrap_or(default.inter_op_threads),
            spinning: raw.spinning.unwrap_or(default.spinning),
        }
    }

    fn backends(&mut self, raw: Option<&[String]>) -> Option<Vec<String>> {
        let raw = raw?;
        for (index, name) in raw.iter().enumerate() {
            let key = format!("engine.backends[{index}]");
            if name.is_empty() {
                self.faults.push(key, "is empty");
            } else if raw[..index].contains(name) {
                self.faults.push(key, format!("{name:?} is there twice"));
            }
        }
        if raw.is_empty() {
            self.faults.push_with_remedy(
                "engine.backends",
                "names no backend",
                "for example [\"onnxruntime\"]",
            );
        }
        Some(raw.to_vec())
    }

    fn graph_optimization(&mut self, raw: Option<&str>) -> Option<GraphOptimization> {
        let levels = [
            ("disabled", GraphOptimization::Disabled),
            ("basic", GraphOptimization::Basic),
            ("extended", GraphOptimization::Extended),
            ("all", GraphOptimization::All),
        ];
        self.word("engine.graph_optimization", raw?, &levels)
    }

    /// Providers by name, or as tables with name and options.
    fn providers(&mut self, raw: &[Value]) -> Vec<ExecutionProvider> {
        let mut providers: Vec<ExecutionProvider> = Vec::with_capacity(raw.len());
        for (index, value) in raw.iter().enumerate() {
            let key = format!("engine.providers[{index}]");
            let provider = match value {
                Value::String(name) => RawProvider { name: Some(name.clone()), ..RawProvider::default() },
                Value::Table(table) => self.provider_table(&key, table),
                _ => {
                    self.faults.push(key, "expected a name, or a table with name and options");
                    continue;
                }
            };
            let name = provider.name.unwrap_or_default().trim().to_ascii_lowercase();
            if name.is_empty() {
                self.faults.push(format!("{key}.name"), "is missing");
            } else if providers.iter().any(|earlier| earlier.name == name) {
                self.faults.push(key.clone(), format!("{name:?} is there twice"));
            }
            let options = self.options(&key, &provider.options);
            providers.push(ExecutionProvider { name, options });
        }
        providers
    }

    fn provider_table(&mut self, key: &str, table: &toml::Table) -> RawProvider {
        let mut inner = Faults::default();
        let provider = read_table(table.clone(), &mut inner);
        for fault in inner.into_vec() {
            self.faults.push_with_hint(format!("{key}.{}", fault.key), fault.message, fault.remedy);
        }
        provider
    }

    fn options(&mut self, key: &str, table: &toml::Table) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        for (option, value) in table {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.to_string(),
                Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
                    let message = "expected text, a number or true or false";
                    self.faults.push(format!("{key}.options.{option}"), message);
                    continue;
                }
            };
            options.insert(option.clone(), text);
        }
        options
    }

    fn log(&mut self, raw: &RawLog, default: &LogConfig) -> LogConfig {
        let formats = [
            ("auto", LogFormat::Auto),
            ("text", LogFormat::Text),
            ("json", LogFormat::Json),
        ];
        let format = raw.format.as_deref().and_then(|word| self.word("log.format", word, &formats));
        let filter = raw.filter.clone().unwrap_or_else(|| default.filter.clone());
        if filter.trim().is_empty() {
            self.faults.push_with_remedy("log.filter", "is empty", "for example \"info\"");
        }
        LogConfig {
            format: format.unwrap_or(default.format),
            filter,
            access: raw.access.unwrap_or(default.access),
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, word: &str, known: &[(&str, T)]) -> Option<T> {
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == word) {
            return Some(*value);
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let message = format!("expected one of {}, got {word:?}", names.join(", "));
        self.faults.push_with_hint(key, message, near_miss(word, names));
        None
    }

    pub(super) fn whole(
        &mut self,
        key: impl Into<String>,
        value: Option<i64>,
        limits: RangeInclusive<i64>,
    ) -> Option<usize> {
        let value = value?;
        if limits.contains(&value) {
            return usize::try_from(value).ok();
        }
        let message = format!("expected {} to {}, got {value}", limits.start(), limits.end());
        self.faults.push(key, message);
        None
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        text: Option<&str>,
        limits: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = text?;
        let Some(duration) = parse_duration(text) else {
            let message = format!("{text:?} is not a duration");
            self.faults.push_with_remedy(key, message, "for example \"500ms\", \"30s\" or \"2m\"");
            return None;
        };
        if limits.contains(&duration) {
            return Some(duration);
        }
        let message = format!("expected {:?} to {:?}, got {duration:?}", limits.start(), limits.end());
        self.faults.push(key, message);
        None
    }

    /// A size between two others.
    pub(super) fn bytes_within(
        &mut self,
        key: &str,
        value: Option<&Value>,
        limits: &RangeInclusive<usize>,
    ) -> Option<usize> {
        let bytes = self.bytes(key, value)?;
        if limits.contains(&bytes) {
            return Some(bytes);
        }
        let [least, most, given] = [*limits.start(), *limits.end(), bytes].map(format_bytes);
        self.faults.push(key, format!("expected {least} to {most}, got {given}"));
        None
    }

    pub(super) fn bytes(&mut self, key: &str, value: Option<&Value>) -> Option<usize> {
        let value = value?;
        let bytes = match value {
            Value::Integer(bytes) => usize::try_from(*bytes).ok(),
            Value::String(text) => parse_bytes(text),
            _ => None,
        };
        match bytes {
            Some(0) => {
                self.faults.push(key, "expected at least 1 byte");
                None
            }
            Some(bytes) => Some(bytes),
            None => {
                let message = format!("{value} is not a size");
                self.faults.push_with_remedy(key, message, "for example \"64MiB\"");
                None
            }
        }
    }

    fn address(&mut self, key: &str, text: Option<&str>, default: Option<SocketAddr>) -> Option<SocketAddr> {
        let Some(text) = text else { return default };
        if text == OFF {
            return None;
        }
        parse_address(text).or_else(|| {
            let message = format!("{text:?} is not an address with a port");
            self.faults.push_with_remedy(
                key,
                message,
                "for example \"0.0.0.0:8000\", \":8000\", \"[::1]:8000\" or \"off\"",
            );
            default
        })
    }
}
