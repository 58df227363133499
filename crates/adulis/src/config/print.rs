use adulis_backend::{ExecutionProvider, GraphOptimization};
use adulis_http::HeaderPattern;
use toml::{Table, Value};

use super::admission;
use super::control;
use super::inference_log;
use super::keys::KEYS;
use super::rate;
use super::raw::{RawConfig, RawEngine, RawLog, RawOnnxRuntime, RawServer};
use super::trace;
use super::units::{AUTO, OFF, format_address, format_bytes, format_duration};
use super::workers;
use super::{Config, EngineConfig, ServerConfig};

/// What is shown in a secret's place.
const MASK: &str = "********";

/// The text of an `adulis.toml` with every value that is set or has a default.
pub(super) fn to_toml(config: &Config) -> String {
    let secrets = KEYS.iter().filter(|key| key.secret).map(|key| key.path);
    toml::to_string(&masked(table(config), secrets)).expect("invariant: a table is always writable")
}

/// What has as many keys as somebody likes: told as a whole.
const TABLES: [&str; 3] = ["auth.keys", "auth.certificates", "quotas"];

/// The keys in which two configurations differ.
pub(super) fn changed_keys(one: &Config, other: &Config) -> Vec<&'static str> {
    let (one, other) = (table(one), table(other));
    KEYS.iter()
        .map(|key| key.path)
        .chain(TABLES)
        .filter(|path| value(&one, path) != value(&other, path))
        .collect()
}

fn value<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = table.get(names.next()?);
    names.fold(first, |value, name| value?.get(name))
}

fn table(config: &Config) -> Table {
    let (quotas, quota_state) = config.quotas.print();
    let mut raw = RawConfig {
        repositories: Some(config.repositories.clone()),
        strict_readiness: Some(config.strict_readiness),
        server: server(&config.server),
        auth: config.auth.print(),
        audit: config.audit.print(),
        tls: config.tls.print(),
        quotas,
        quota_state,
        engine: engine(&config.engine),
        workers: workers::print(&config.workers),
        supervisor: config.supervisor.print(),
        cache: config.cache.print(),
        storage: config.storage.print(),
        shared_memory: config.shared_memory.print(),
        store: config.store.print(),
        lookup: config.lookup.print(),
        inference_log: inference_log::print(&config.inference_log),
        metrics: config.metrics.print(),
        log: RawLog {
            format: Some(config.log.format.as_str().to_owned()),
            filter: Some(config.log.filter.clone()),
            access: Some(config.log.access),
        },
        trace: trace::print(&config.trace),
        sagemaker: config.sagemaker.to_raw(),
        vertex_ai: config.vertex_ai.to_raw(),
        ..RawConfig::default()
    };
    control::print(&config.control, &mut raw);
    Table::try_from(raw).expect("invariant: the raw form has string keys and TOML values only")
}

/// The table with a mask in place of each secret that is set.
fn masked<'a>(mut table: Table, secrets: impl IntoIterator<Item = &'a str>) -> Table {
    for path in secrets {
        let (sections, name) = path.rsplit_once('.').unwrap_or(("", path));
        let sections = sections.split('.').filter(|section| !section.is_empty());
        let section = sections
            .into_iter()
            .try_fold(&mut table, |table, section| table.get_mut(section).and_then(Value::as_table_mut));
        if let Some(value) = section.and_then(|section| section.get_mut(name)) {
            *value = Value::String(MASK.to_owned());
        }
    }
    table
}

fn server(server: &ServerConfig) -> RawServer {
    let time = |duration| Some(format_duration(duration));
    let bytes = |bytes| Some(Value::String(format_bytes(bytes)));
    let pattern =
        |pattern: Option<&HeaderPattern>| Some(pattern.map_or("", HeaderPattern::as_str).to_owned());
    RawServer {
        name: Some(server.name.clone()),
        http: Some(format_address(server.http)),
        grpc: Some(format_address(server.grpc)),
        metrics: Some(format_address(server.metrics)),
        max_connections: Some(signed(server.max_connections)),
        max_connections_per_peer: Some(signed(server.max_connections_per_peer)),
        header_timeout: time(server.header_timeout),
        body_timeout: time(server.body_timeout),
        min_body_rate: match server.min_body_rate {
            0 => Some(Value::String(OFF.to_owned())),
            rate => bytes(rate),
        },
        max_in_flight_bytes: server
            .max_in_flight_bytes
            .map_or_else(|| Some(Value::String(AUTO.to_owned())), bytes),
        idle_timeout: time(server.idle_timeout),
        request_timeout: Some(server.request_timeout.map_or_else(|| OFF.to_owned(), format_duration)),
        max_header_bytes: bytes(usize::try_from(server.max_header_bytes).unwrap_or(usize::MAX)),
        max_body_bytes: bytes(server.max_body_bytes),
        max_load_bytes: bytes(server.max_load_bytes),
        max_grpc_message_bytes: bytes(server.max_grpc_message_bytes),
        max_grpc_stream_requests: Some(signed(server.max_grpc_stream_requests)),
        http_header_forward_pattern: pattern(server.http_header_forward_pattern.as_ref()),
        grpc_header_forward_pattern: pattern(server.grpc_header_forward_pattern.as_ref()),
        lame_duck: time(server.lame_duck),
        drain_timeout: time(server.drain_timeout),
        http2: server.http2.print(),
        compression: server.compression.print(),
        cors: server.cors.print(),
    }
}

fn engine(engine: &EngineConfig) -> RawEngine {
    let level = match engine.graph_optimization {
        GraphOptimization::Disabled => "disabled",
        GraphOptimization::Basic => "basic",
        GraphOptimization::Extended => "extended",
        GraphOptimization::All => "all",
    };
    let mut raw = RawEngine {
        execution_threads: Some(signed(engine.execution_threads)),
        load_threads: Some(signed(engine.load_threads)),
        inline_threshold: Some(format_duration(engine.inline_threshold)),
        default_max_batch_size: Some(signed(engine.default_max_batch_size)),
        max_queued_rows: Some(signed(engine.max_queued_rows)),
        max_execution_time: Some(engine.max_execution_time.map_or_else(|| OFF.to_owned(), format_duration)),
        max_stuck_threads: Some(signed(engine.max_stuck_threads)),
        unload_timeout: Some(format_duration(engine.unload_timeout)),
        max_override_bytes: Some(Value::String(format_bytes(engine.max_override_bytes))),
        backends: Some(engine.backends.clone()),
        graph_optimization: Some(level.to_owned()),
        providers: Some(engine.providers.iter().map(provider).collect()),
        provider_fallback: Some(engine.provider_fallback),
        arena: Some(engine.arena),
        optimized_cache: Some(engine.optimized_cache.clone().unwrap_or_default()),
        onnxruntime: RawOnnxRuntime {
            library: Some(engine.onnxruntime.library.clone().unwrap_or_default()),
            intra_op_threads: Some(signed(engine.onnxruntime.intra_op_threads)),
            inter_op_threads: Some(signed(engine.onnxruntime.inter_op_threads)),
            spinning: Some(engine.onnxruntime.spinning),
        },
        ..RawEngine::default()
    };
    rate::print(&engine.rate_limit, &mut raw);
    admission::print(engine.admission, engine.max_queue_time, &mut raw);
    raw
}

fn provider(provider: &ExecutionProvider) -> Value {
    let name = Value::String(provider.name.clone());
    if provider.options.is_empty() {
        return name;
    }
    let options = provider.options.iter();
    let options: Table = options.map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    Value::Table(Table::from_iter([
        ("name".to_owned(), name),
        ("options".to_owned(), Value::Table(options)),
    ]))
}

/// Counts come from `i64`s; what does not fit any more says "very many".
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let table: Table =
            toml::from_str("token = 'x'\n[a]\nkey = 'y'\nother = 1\n[a.b]\nkey = 'z'").unwrap();
        let masked = masked(table, ["token", "a.key", "a.b.key", "a.gone", "gone.key"]);
        let expected = "token = '********'\n[a]\nkey = '********'\nother = 1\n[a.b]\nkey = '********'";
        assert_eq!(masked, toml::from_str(expected).unwrap());
    }
}
