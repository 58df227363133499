//! Clients change what the log shows, and it does.

use std::time::Duration;

use adulis_protocol::grpc::LogSettingsRequest;
use adulis_protocol::grpc::log_settings_request::SettingValue;
use adulis_protocol::grpc::log_settings_request::setting_value::ParameterChoice;
use adulis_testing::{TestRepository, TestServer};

use crate::support::{byte_model, grpc, serve};

/// Long enough for a line to come through the pipe, where none is expected.
const MOMENT: Duration = Duration::from_millis(300);

/// Asks for a model that is not there, which is a line at level `debug` with this id.
async fn refused(server: &TestServer, id: &str) {
    let header = format!("x-request-id: {id}");
    let answer = server.infer("none", &[&header], "{}").await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
}

fn is_logged(server: &TestServer, id: &str) -> bool {
    server.log().contains(id)
}

async fn change(server: &TestServer, body: &str) {
    let answer = server.post("/v2/logging", body).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn the_log_shows_what_clients_ask_for() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    let server = serve(&repository, &[]);
    server.ready().await;

    refused(&server, "quiet-1").await;
    change(&server, r#"{"log_verbose_level":1}"#).await;
    refused(&server, "verbose-2").await;
    let line = server.logged(&["verbose-2", "request refused"]).await;
    assert!(line.starts_with(r#"{"timestamp":"#), "{line}");
    assert!(!is_logged(&server, "quiet-1"), "{}", server.log());

    change(&server, r#"{"log_format":"ISO8601"}"#).await;
    refused(&server, "text-3").await;
    let line = server.logged(&["text-3", "request refused"]).await;
    assert!(line.starts_with("20") && line.contains("DEBUG"), "{line}");

    // Over gRPC, and back.
    let level = SettingValue { parameter_choice: Some(ParameterChoice::Uint32Param(0)) };
    let request = LogSettingsRequest { settings: [("log_verbose_level".to_owned(), level)].into() };
    grpc(&server).await.log_settings(request).await.unwrap();
    refused(&server, "quiet-4").await;
    tokio::time::sleep(MOMENT).await;
    assert!(!is_logged(&server, "quiet-4"), "{}", server.log());
}
