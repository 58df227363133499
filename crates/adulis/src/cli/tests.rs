use clap::{CommandFactory, Parser};

use super::*;
use adulis_http::HeaderPattern;
use adulis_telemetry::TraceOptions;
use adulis_types::TraceLevels;

use crate::config::Config;

fn help(path: &[&str]) -> String {
    let mut command = Cli::command().term_width(110);
    command.build();
    for name in path {
        command = command.find_subcommand(name).unwrap().clone();
    }
    command.render_long_help().to_string()
}

fn serve(arguments: &[&str]) -> ServeArgs {
    match Cli::try_parse_from([&["adulis", "serve"], arguments].concat()).unwrap().command {
        Command::Serve(args) => *args,
        other => panic!("{other:?}"),
    }
}

fn load(arguments: &[&str]) -> Result<Config, ConfigErrors> {
    serve(arguments).layers(Vec::new()).load().map(|loaded| loaded.config)
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_texts() {
    insta::assert_snapshot!("help", help(&[]));
    insta::assert_snapshot!("help_serve", help(&["serve"]));
    insta::assert_snapshot!("help_check", help(&["check"]));
    insta::assert_snapshot!("help_log_export", help(&["log", "export"]));
    insta::assert_snapshot!("help_keys", help(&["keys"]));
    insta::assert_snapshot!("help_keys_create", help(&["keys", "create"]));
    insta::assert_snapshot!("help_probe", help(&["probe"]));
    insta::assert_snapshot!("help_cert_dev", help(&["cert", "dev"]));
}

#[test]
fn without_arguments_there_is_help_and_the_code_for_usage() {
    let error = Cli::try_parse_from(["adulis"]).unwrap_err();
    assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    assert_eq!(error.exit_code(), i32::from(EXIT_CONFIGURATION));
    let error = Cli::try_parse_from(["adulis", "serve", "--htpp", ":1"]).unwrap_err();
    assert_eq!(error.exit_code(), i32::from(EXIT_CONFIGURATION));
    assert!(error.to_string().contains("--http"), "{error}");
}

#[test]
fn a_check_that_loads_takes_the_engines_of_the_server() {
    let check = |arguments: &[&str]| {
        let command = Cli::try_parse_from([&["adulis", "check"], arguments].concat())?.command;
        match command {
            Command::Check(args) => Ok::<_, clap::Error>(args),
            other => panic!("{other:?}"),
        }
    };
    let args = check(&["a", "--load", "--engine", "tract", "--config", "x.toml"]).unwrap();
    let serve = args.serve();
    assert_eq!((serve.engine, serve.config), (vec!["tract".to_owned()], Some("x.toml".into())));
    // A variable of the environment may be set for another command.
    assert!(!check(&["a", "--config", "x.toml"]).unwrap().load);
    assert!(check(&["a", "--engine", "tract"]).is_err());
}

#[test]
fn flags_are_settings() {
    let config = load(&[
        "a",
        "b.onnx",
        "--id",
        "triton",
        "--http",
        ":1",
        "--grpc",
        "off",
        "--metrics",
        "127.0.0.1:2",
        "--engine",
        "tract,identity",
        "--execution-threads",
        "3",
        "--shared-memory",
        "--http-header-forward-pattern",
        "^x-my-",
        "--trace-config",
        "triton,file=/tmp/t.json",
        "--trace-config",
        "triton,log-frequency=50",
        "--trace-config",
        "level=TIMESTAMPS",
        "--trace-config",
        "level=TENSORS",
        "--trace-config",
        "rate=100",
        "--log-format",
        "json",
        "--log-level",
        "debug",
        "--set",
        "server.max_body_bytes=1KiB",
        "--set",
        "engine.arena = false",
        "--set",
        "engine.providers=[\"cpu\"]",
    ])
    .unwrap();
    assert_eq!(config.repositories, ["a", "b.onnx"].map(PathBuf::from));
    assert_eq!(config.server.name, "triton");
    assert_eq!(config.server.http.unwrap().to_string(), "0.0.0.0:1");
    assert_eq!(config.server.grpc, None);
    assert_eq!(config.server.metrics.unwrap().to_string(), "127.0.0.1:2");
    assert_eq!(config.server.max_body_bytes, 1024);
    assert!(config.shared_memory().is_some() && Config::default().shared_memory().is_none());
    assert_eq!(config.engine.backends, ["tract", "identity"]);
    assert_eq!(config.engine.execution_threads, 3);
    assert_eq!(config.engine.providers[0].name, "cpu");
    assert!(!config.engine.arena);
    let patterns = [
        &config.server.http_header_forward_pattern,
        &config.server.grpc_header_forward_pattern,
    ];
    assert_eq!(
        patterns.map(|pattern| pattern.as_ref().map(HeaderPattern::as_str)),
        [Some("^x-my-"), None]
    );
    let trace = TraceOptions {
        file: "/tmp/t.json".into(),
        levels: TraceLevels { timestamps: true, tensors: true },
        rate: 100,
        count: None,
        log_frequency: 50,
    };
    assert_eq!(config.trace, trace);
    assert_eq!(config.log.format, adulis_telemetry::LogFormat::Json);
    assert_eq!(config.log.filter, "debug");
}

#[test]
fn certificates_are_flags() {
    let client = ["--tls-client-ca", "ca.pem", "--tls-client-auth", "optional"];
    let own = ["a", "--tls-cert", "a.pem", "--tls-key", "a-key.pem"];
    let config = load(&[&own[..], &client].concat()).unwrap();
    let tls = config.tls.options().unwrap();
    assert_eq!(tls.certificates[0].certificate, PathBuf::from("a.pem"));
    assert_eq!(tls.certificates[0].key, PathBuf::from("a-key.pem"));
    assert_eq!(tls.client_ca_files, ["ca.pem"].map(PathBuf::from));
    assert_eq!(config.tls.of(config.tls.http), Some(adulis_tls::ClientAuth::Optional));
}

#[test]
fn faults_name_the_flag() {
    let errors = load(&["--http", "8000", "--set", "engine.aren=1", "--log-format", "xml"]).unwrap_err();
    let told = errors.to_string();
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "--http: server.http: \"8000\" is not an address with a port; for example \"0.0.0.0:8000\", \":8000\", \
             \"[::1]:8000\" or \"off\"",
            "--log-format: log.format: expected one of auto, text, json, got \"xml\"",
            "--set: engine.aren: unknown key; did you mean arena?",
        ]
    );
}

#[test]
fn values_are_toml_or_text() {
    assert_eq!(parse_value("3"), Value::Integer(3));
    assert_eq!(parse_value("true"), Value::Boolean(true));
    assert_eq!(parse_value("64MiB"), Value::String("64MiB".to_owned()));
    assert_eq!(parse_value("\"a b\""), Value::String("a b".to_owned()));
    assert_eq!(parse_value("1\nx = 2"), Value::String("1\nx = 2".to_owned()));
}
