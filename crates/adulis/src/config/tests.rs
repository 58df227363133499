mod security;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::keys::KEYS;
use super::*;

fn layers(file: &str, environment: &[(&str, &str)]) -> (tempfile::TempDir, Layers) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("adulis.toml"), file).unwrap();
    let variable = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    let layers = Layers {
        folder: folder.path().to_owned(),
        environment: environment.iter().map(variable).collect(),
        ..Layers::default()
    };
    (folder, layers)
}

fn load(file: &str, environment: &[(&str, &str)]) -> Loaded {
    let (_folder, layers) = layers(file, environment);
    layers.load().unwrap()
}

fn told(file: &str, environment: &[(&str, &str)]) -> String {
    let (folder, layers) = layers(file, environment);
    let errors = layers.load().unwrap_err().to_string();
    errors.replace(&format!("{}/", folder.path().display()), "")
}

/// The key paths of a table, without those in arrays.
fn paths(prefix: &str, table: &Table) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => all.extend(paths(&path, inner)),
            _ => drop(all.insert(path)),
        }
    }
    all
}

#[test]
fn defaults() {
    assert_eq!(load("", &[]).config, Config::default());
    insta::assert_snapshot!(Config::default().to_toml());
}

#[test]
fn keys_are_all_there_is() {
    let printed: Table = toml::from_str(&Config::default().to_toml()).unwrap();
    let keys: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(paths("", &printed), keys);
    for key in KEYS {
        let name = key.path.trim_start_matches("server.").trim_start_matches("engine.onnxruntime");
        let name = name.trim_start_matches('.').replace('.', "_").to_ascii_uppercase();
        let middle = if key.path.starts_with("engine.onnxruntime") { "ONNXRUNTIME_" } else { "" };
        assert_eq!(key.variable, format!("ADULIS_{middle}{name}"));
    }
}

#[test]
fn the_example_has_every_key_and_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../adulis.example.toml");
    let text = fs::read_to_string(path).unwrap();
    let table: Table = toml::from_str(&text).unwrap();
    let keys: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(paths("", &table), keys);
    assert_eq!(load(&text, &[]).config, Config::default());
    let explained = text.lines().collect::<Vec<_>>();
    for (index, line) in explained.iter().enumerate() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(explained[index - 1].starts_with("# "), "{line}: no explanation above it");
        }
    }
    for key in KEYS {
        assert!(text.contains(key.variable), "{} is not named", key.variable);
    }
}

#[test]
fn the_document_has_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    for key in KEYS {
        assert!(text.contains(&format!("`{}`", key.path)), "{} is missing", key.path);
        assert!(text.contains(&format!("`{}`", key.variable)), "{} is missing", key.variable);
    }
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let file = r#"
        repositories = ["a", "b c"]
        strict_readiness = false
        [server]
        name = "triton"
        http = "[::1]:80"
        grpc = "[::1]:80"
        metrics = "off"
        request_timeout = "1m 30s"
        max_body_bytes = 1025
        max_header_bytes = "8KiB"
        max_grpc_message_bytes = 4294967295
        max_grpc_stream_requests = 3
        http2 = { max_concurrent_streams = 7, max_pending_reset_streams = 8, max_error_reset_streams = 9, ping_interval = "1s" }
        compression = { rest = "accepted", min_bytes = 10, grpc = true }
        lame_duck = "5s"
        max_connections_per_peer = 0
        min_body_rate = "off"
        max_in_flight_bytes = "3GiB"
        cors = { origins = ["https://app.example", "http://[::1]:3000"], headers = ["x-mine"], max_age = "0s" }
        [tls]
        certificate_files = ["/a.pem", "b.pem"]
        key_files = ["/a-key.pem", "b-key.pem"]
        client_ca_files = ["ca.pem"]
        client_crl_files = ["revoked.pem"]
        client_auth = "required"
        min_version = "1.3"
        handshake_timeout = "3s"
        reload_interval = "off"
        http.client_auth = "optional"
        grpc.client_auth = "optional"
        metrics.enabled = false
        [storage]
        cache_folder = "/tmp/mirrors"
        max_bytes = "3GiB"
        max_downloads = 2
        timeout = "5s"
        mirror_timeout = "2h"
        max_retries = 0
        allow_http = true
        s3 = { endpoint = "http://minio:9000", region = "eu-west-1", virtual_hosted_style = true }
        gcs = { endpoint = "https://gcs.example" }
        azure = { endpoint = "http://azurite:10000/devstoreaccount1" }
        [shared_memory]
        enabled = true
        key_prefix = "/adulis-"
        max_regions = 3
        max_bytes = "1GiB"
        max_request_bytes = 77
        [engine]
        backends = ["identity"]
        graph_optimization = "basic"
        providers = ["tensorrt", { name = "CUDA", options = { device_id = 1, fast = true } }]
        optimized_cache = "/tmp/cache"
        onnxruntime = { library = "/lib/x.so", spinning = true }
        log.filter = "debug,hyper=info"
    "#;
    let file = file.replace("        log.filter", "        [log]\n        filter");
    let config = load(&file, &[]).config;
    assert_eq!(config.server.http, config.server.grpc);
    assert_eq!(config.engine.providers[1].name, "cuda");
    assert_eq!(config.engine.providers[1].options["device_id"], "1");
    assert_eq!(load(&config.to_toml(), &[]).config, config);
}

#[test]
fn environment_over_file_and_flags_over_environment() {
    let file = "strict_readiness = false\n[server]\nhttp = ':1'\ngrpc = ':2'\nmetrics = ':3'\n";
    let (_folder, mut layers) = layers(
        file,
        &[
            ("ADULIS_GRPC", ":20"),
            ("ADULIS_METRICS", ":30"),
            ("ADULIS_HTTP", ""),
        ],
    );
    layers.flags =
        vec![("server.metrics".to_owned(), Value::String(":300".to_owned()), "--metrics".to_owned())];
    let loaded = layers.load().unwrap();
    let server = loaded.config.server;
    let ports = [server.http, server.grpc, server.metrics].map(|address| address.unwrap().port());
    assert_eq!(ports, [1, 20, 300]);
    assert!(!loaded.config.strict_readiness);
    assert!(loaded.file.unwrap().ends_with("adulis.toml"));
}

#[test]
fn every_kind_of_variable() {
    let config = load(
        "",
        &[
            ("ADULIS_REPOSITORIES", "/a:/b:s3://host:9000/bucket/x"),
            ("ADULIS_STRICT_READINESS", "off"),
            ("ADULIS_ENGINE_BACKENDS", "tract, onnxruntime"),
            ("ADULIS_ENGINE_LOAD_THREADS", " 3 "),
            ("ADULIS_MAX_BODY_BYTES", "2GiB"),
        ],
    )
    .config;
    assert_eq!(config.repositories, ["/a", "/b", "s3://host:9000/bucket/x"].map(PathBuf::from));
    assert!(!config.strict_readiness);
    assert_eq!(config.engine.backends, ["tract", "onnxruntime"]);
    assert_eq!(config.engine.load_threads, 3);
    assert_eq!(config.server.max_body_bytes, 2 << 30);
}

#[test]
fn variables_of_kubernetes_are_left_alone_and_misspelt_ones_noted() {
    let loaded = load(
        "",
        &[
            ("ADULIS_PORT", "tcp://10.0.0.1:8000"),
            ("ADULIS_SERVICE_HOST", "10.0.0.1"),
            ("ADULIS_PORT_8000_TCP_ADDR", "10.0.0.1"),
            ("ADULIS_CACHE_DIR", "/tmp"),
            ("ADULIS_HTPP", ":1"),
            ("HOME", "/root"),
        ],
    );
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.notes, ["environment ADULIS_HTPP: is not known; did you mean ADULIS_HTTP?"]);
}

#[test]
fn tells_every_fault_of_every_layer_at_once() {
    let file = r#"repositorys = ["x"]
strict_readiness = "yes"
[server]
http = "8000"
max_connections = 0
header_timeout = "10"
body_timeout = "2 days"
idle_timeout = 75
max_body_bytes = "64 parsecs"
max_header_bytes = 1000
max_grpc_message_bytes = "4GiB"
max_grpc_stream_requests = 0
lame_duck = "-1s"
http2 = { max_concurrent_streams = 0, ping_interval = "1ms" }
compression = { rest = "always", min_bytes = 0 }
[storage]
max_bytes = 5
timeout = "0"
s3 = { endpoint = "minio:9000", regio = "x" }
gcs.endpoint = "http://gcs.example"
azure.endpoint = "https://key:secret@azure.example"
[shared_memory]
key_prefix = "/a/b"
max_regions = 0
max_bytes = "much"
[engine]
execution_threads = 100000
default_max_batch_size = 0
backends = ["tract", "tract", ""]
graph_optimization = "everything"
providers = ["cuda", "CUDA", 3, { nam = "x" }]
[engine.onnxruntime]
spining = true
[log]
format = "yaml"
filter = ""
"#;
    let environment = [
        ("ADULIS_GRPC", "nowhere"),
        ("ADULIS_ENGINE_LOAD_THREADS", "many"),
        ("ADULIS_LOG_ACCESS", "2"),
    ];
    insta::assert_snapshot!(told(file, &environment));
}

#[test]
fn a_name_is_a_short_line() {
    assert_eq!(
        load("", &[("ADULIS_NAME", "the fleet's 7th")]).config.settings().server_name,
        "the fleet's 7th"
    );
    for name in ["".to_owned(), "a\\nb".to_owned(), "n".repeat(129)] {
        assert_eq!(
            told(&format!("[server]\nname = \"{name}\""), &[]),
            format!(
                "adulis.toml: line 2: server.name: expected 1 to 128 bytes without control characters, got \"{name}\"; \
                 for example \"adulis\""
            )
        );
    }
}

#[test]
fn addresses_that_cannot_be_together() {
    assert_eq!(
        told("[server]\nhttp = ':1'\nmetrics = ':1'", &[]),
        "adulis.toml: line 3: server.metrics: 0.0.0.0:1 is server.http's address too; give it a port of its own"
    );
    assert_eq!(
        told("", &[("ADULIS_HTTP", "off"), ("ADULIS_GRPC", "off")]),
        "environment ADULIS_HTTP: server.http: REST and gRPC are both off: nothing would be served; give one of them an \
         address"
    );
    let any_port = load("[server]\nhttp = ':0'\ngrpc = ':0'\nmetrics = ':0'", &[]);
    assert_eq!(any_port.config.server.metrics.unwrap().port(), 0);
}

#[test]
fn platforms_are_off_and_say_where_they_ask() {
    let variables = [
        ("AIP_HTTP_PORT", "9"),
        ("AIP_PREDICT_ROUTE", "/v1/endpoints/7:predict"),
        ("AIP_MODE", "x"),
    ];
    let config = load("", &variables).config;
    assert_eq!((config.sagemaker.serve(), config.vertex_ai.serve()), (None, None));
    assert_eq!(config.vertex_ai.port, 9);
    let file = "[vertex_ai]\nenabled = true\nmodel = 'm'\n[sagemaker]\nenabled = true\nport = 7\n";
    let (address, options) = load(file, &variables).config.vertex_ai.serve().unwrap();
    assert_eq!(address.to_string(), "0.0.0.0:9");
    assert_eq!(options.predict_route.to_string(), "/v1/endpoints/7:predict");
    assert_eq!(options.health_route.to_string(), "/health");
    assert_eq!(options.model.as_deref(), Some("m"));
    // Ours are the stronger ones, whatever their order.
    let ours = [
        ("ADULIS_VERTEX_AI_PORT", "5"),
        variables[0],
        ("SAGEMAKER_BIND_TO_PORT", "6"),
    ];
    let config = load("[sagemaker]\nport = 7\n", &ours).config;
    assert_eq!((config.vertex_ai.port, config.sagemaker.port), (5, 6));
}

#[test]
fn platforms_have_ports_and_paths_of_their_own() {
    for (file, message) in [
        (
            "[sagemaker]\nenabled = true\nport = 8000",
            "adulis.toml: line 3: sagemaker.port: 8000 is the port of server.http too; give each a port of its own",
        ),
        (
            "[sagemaker]\nenabled = true\n[vertex_ai]\nenabled = true\nport = 8080",
            "adulis.toml: line 5: vertex_ai.port: 8080 is the port of sagemaker.port too; give each a port of its own",
        ),
        (
            "[sagemaker]\nport = 65536",
            "adulis.toml: line 2: sagemaker.port: expected 0 to 65535, got 65536",
        ),
        (
            "[vertex_ai]\nhealth_route = '/{x}'",
            "adulis.toml: line 2: vertex_ai.health_route: expected a path such as /predict: printable ASCII from its \
             slash on, without braces, '?', '#' and '*', got \"/{x}\"",
        ),
    ] {
        assert_eq!(told(file, &[]), message);
    }
    let told = told("", &[("AIP_HTTP_PORT", "many")]);
    assert_eq!(told, "environment AIP_HTTP_PORT: vertex_ai.port: expected a whole number");
    load("[sagemaker]\nport = 8000", &[]);
}

/// The redirect of Vertex AI leads to all of `/v2`.
#[test]
fn a_platforms_plain_port_beside_tls_is_where_somebody_says() {
    let tls = "[tls]\ncertificate_files = ['a.pem']\nkey_files = ['a-key.pem']\n";
    for section in ["sagemaker", "vertex_ai"] {
        let with = |more: &str| format!("{tls}[{section}]\nenabled = true\n{more}");
        let refused = told(&with(""), &[]);
        assert!(
            refused.contains(&format!("{section}.address: is not set: this port speaks in plain")),
            "{refused}"
        );
        for (address, expected) in [
            ("127.0.0.1", "127.0.0.1:8080"),
            ("0.0.0.0", "0.0.0.0:8080"),
            ("::1", "[::1]:8080"),
        ] {
            let config = load(&with(&format!("address = '{address}'")), &[]).config;
            let places = [
                config.sagemaker.serve().map(|(place, _)| place),
                config.vertex_ai.serve().map(|(place, _)| place),
            ];
            let place = places.into_iter().flatten().next().unwrap();
            assert_eq!(place.to_string(), expected);
        }
        let refused = told(&format!("[{section}]\naddress = 'here'"), &[]);
        assert!(
            refused.contains(&format!("{section}.address: expected the address of an interface")),
            "{refused}"
        );
        load(&format!("{tls}[{section}]\naddress = ''"), &[]);
    }
}

#[test]
fn files_that_cannot_be_read() {
    let (folder, mut layers) = layers("[server]\nhttp = ", &[]);
    assert!(layers.load().unwrap_err().to_string().contains("line 2: "));
    layers.file = Some("gone.toml".into());
    assert!(layers.load().unwrap_err().to_string().contains("gone.toml: cannot be read"));
    fs::write(folder.path().join("big.toml"), "#".repeat((1 << 20) + 1)).unwrap();
    layers.file = Some("big.toml".into());
    assert!(layers.load().unwrap_err().to_string().contains("larger than 1 MiB"));
    fs::remove_file(folder.path().join("adulis.toml")).unwrap();
    layers.file = None;
    assert_eq!(layers.load().unwrap().file, None);
}

#[test]
fn settings_follow_the_configuration() {
    let config = load(
        "strict_readiness = false\n[engine]\nbackends = ['tract']\narena = false\nmax_queue_time = '2s'\nmax_execution_time = '3s'\nmax_stuck_threads = 0\n",
        &[],
    )
    .config;
    let settings = config.settings();
    assert!(!settings.strict_readiness);
    assert!(!settings.engine.arena);
    assert_eq!(settings.backend_order, ["tract"]);
    assert_eq!(settings.max_queue_time, Some(Duration::from_secs(2)));
    assert_eq!(
        (settings.max_execution_time, settings.max_stuck_threads),
        (Some(Duration::from_secs(3)), 0)
    );
    assert_eq!(Config::default().http(), HttpOptions::default());
    assert_eq!(Config::default().grpc(), GrpcOptions::default());
    assert_eq!(Config::default().listener(), ListenerOptions::default());
    let defaults = Config::default().settings();
    assert_eq!(format!("{defaults:?}"), format!("{:?}", Settings::default()));
}

#[test]
fn frontends_follow_the_configuration() {
    let file = r#"
        [server]
        max_header_bytes = "8KiB"
        max_connections_per_peer = 11
        body_timeout = "9s"
        min_body_rate = 12
        max_in_flight_bytes = "1KiB"
        max_grpc_message_bytes = 5
        max_grpc_stream_requests = 3
        http2 = { max_concurrent_streams = 7, max_pending_reset_streams = 8, max_error_reset_streams = 9, ping_interval = "1s" }
        compression = { rest = "never", min_bytes = 10, grpc = true }
    "#;
    let config = load(file, &[("ADULIS_COMPRESSION_REST", "accepted")]).config;
    let http = config.http();
    assert_eq!(
        (http.compression, http.min_compress_bytes),
        (adulis_http::ResponseCompression::Accepted, 10)
    );
    let grpc = config.grpc();
    assert_eq!((grpc.max_request_bytes, grpc.max_stream_requests, grpc.compress_responses), (5, 3, true));
    assert_eq!(config.server.max_in_flight_bytes, Some(1024));
    let listener = config.listener();
    assert_eq!((listener.max_header_bytes, listener.max_concurrent_streams), (8192, 7));
    assert_eq!((listener.max_connections_per_peer, listener.min_answer_rate), (11, 12));
    for pace in [http.body_pace, grpc.message_pace] {
        assert_eq!((pace.whole, pace.bytes_per_second), (Duration::from_secs(9), 12));
    }
    assert_eq!(
        (listener.max_pending_accept_reset_streams, listener.max_local_error_reset_streams),
        (8, 9)
    );
    assert_eq!(listener.http2_ping_interval, Duration::from_secs(1));
}

#[test]
fn headers_that_hold_keys_become_no_parameters() {
    let digest = "ab".repeat(32);
    let file = format!(
        r#"
        [server]
        http_header_forward_pattern = ".*"
        grpc_header_forward_pattern = "key|other"
        [auth]
        enabled = true
        http_restricted_api = ["logging:Log-Key=planted"]
        [auth.keys.admin]
        header = "Admin-Key"
        digest = "sha256:{digest}"
        scopes = ["infer"]
    "#
    );
    let config = load(&file, &[]).config;
    for pattern in [config.http().forward_headers, config.grpc().forward_metadata] {
        let headers: [(&str, &[u8]); 4] = [
            ("admin-key", b"1"),
            ("log-key", b"2"),
            ("x-api-key", b"3"),
            ("x-other", b"4"),
        ];
        let found = pattern.unwrap().parameters(headers.into_iter());
        assert_eq!(found.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["x-other"]);
    }
}
