//! RPCs of the logging and trace extensions.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;

use adulis_grpc::GrpcOptions;
use adulis_protocol::grpc::log_settings_request::SettingValue;
use adulis_protocol::grpc::log_settings_request::setting_value::ParameterChoice as Asked;
use adulis_protocol::grpc::log_settings_response::setting_value::ParameterChoice as Told;
use adulis_protocol::grpc::{LogSettingsRequest, ServerMetadataRequest, TraceSettingRequest};
use adulis_testing::{ScriptedLog, ScriptedService};
use adulis_types::Services;
use support::{Client, Server, default_server};
use tonic::{Code, Status};

fn logging() -> Server {
    let service = Arc::new(ScriptedService::default());
    let log = Arc::new(ScriptedLog::default());
    let services = Services { log: Some(log), ..Services::from(Arc::clone(&service)) };
    Server::serving(services, service, GrpcOptions::default())
}

/// Changes the log and tells what holds then, by name.
async fn change(
    client: &mut Client,
    changes: &[(&str, Option<Asked>)],
) -> Result<Vec<(String, Told)>, Status> {
    let changes = changes.iter().cloned();
    let setting =
        |(name, value): (&str, Option<Asked>)| (name.to_owned(), SettingValue { parameter_choice: value });
    let request = LogSettingsRequest { settings: changes.map(setting).collect() };
    let settings = client.log_settings(request).await?.into_inner().settings;
    Ok(settings
        .into_iter()
        .map(|(name, value)| (name, value.parameter_choice.unwrap()))
        .collect())
}

fn expected(info: bool, verbose_level: u32, format: &str) -> Vec<(String, Told)> {
    [
        ("log_error", Told::BoolParam(true)),
        ("log_file", Told::StringParam(String::new())),
        ("log_format", Told::StringParam(format.to_owned())),
        ("log_info", Told::BoolParam(info)),
        ("log_verbose_level", Told::Uint32Param(verbose_level)),
        ("log_warning", Told::BoolParam(true)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[tokio::test]
async fn the_log_is_seen_and_changed() {
    let server = logging();
    let client = &mut server.client().await;
    assert_eq!(change(client, &[]).await.unwrap(), expected(true, 0, "default"));
    let changes = [
        ("log_info", Some(Asked::BoolParam(false))),
        ("log_verbose_level", Some(Asked::Uint32Param(2))),
        ("log_format", Some(Asked::StringParam("ISO8601".to_owned()))),
        ("log_warning", None),
    ];
    assert_eq!(change(client, &changes).await.unwrap(), expected(false, 2, "ISO8601"));
    assert_eq!(change(client, &[]).await.unwrap(), expected(false, 2, "ISO8601"));
}

#[tokio::test]
async fn what_is_wrong_changes_nothing() {
    let server = logging();
    let client = &mut server.client().await;
    for (name, value, code, part) in [
        ("log_error", Asked::Uint32Param(0), Code::InvalidArgument, "expected true or false, got 0"),
        (
            "log_colour",
            Asked::BoolParam(true),
            Code::InvalidArgument,
            "unknown setting 'log_colour'",
        ),
        (
            "log_file",
            Asked::StringParam("/x".to_owned()),
            Code::Unimplemented,
            "where the server is started",
        ),
        ("log_verbose_level", Asked::Uint32Param(13), Code::Internal, "the log cannot be changed"),
    ] {
        let changes = [("log_info", Some(Asked::BoolParam(false))), (name, Some(value))];
        let refused = change(client, &changes).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(part), "{refused}");
        assert_eq!(change(client, &[]).await.unwrap(), expected(true, 0, "default"));
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_claimed() {
    let has_it = async |server: &Server| {
        let metadata = server.client().await.server_metadata(ServerMetadataRequest {}).await;
        metadata.unwrap().into_inner().extensions.contains(&"logging".to_owned())
    };
    assert!(has_it(&logging()).await);
    let without = default_server();
    assert!(!has_it(&without).await);
    let client = &mut without.client().await;
    assert_eq!(change(client, &[]).await.unwrap_err().code(), Code::Unimplemented);
    let refused = client.trace_setting(TraceSettingRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("the trace extension is not supported"), "{refused}");
}
