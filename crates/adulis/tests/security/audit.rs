use std::path::Path;
use std::time::{Duration, Instant};

use adulis_testing::{ProcessSignal, send_signal};
use serde_json::{Value, json};

use crate::Guarded;

/// The lines of the file, when there are so many.
pub(crate) async fn noted(file: &Path, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn changes_are_noted_with_who_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let configuration = format!("[audit]\nfile = '{}'\n", file.display());
    let guarded = Guarded::start_in(folder, &configuration, &[]).await;
    let (id, operator) = guarded.key(&["--scope", "repository,logging,cache,trace"]);
    let (reader, narrower) = guarded.key(&["--scope", "infer,metadata"]);
    for (line, key, body, status) in [
        ("POST /v2/repository/models/digits/unload", &operator, "", 200),
        ("POST /v2/repository/models/digits/load", &operator, "", 200),
        ("POST /v2/repository/models/missing/load", &operator, "", 400),
        ("POST /v2/repository/models/digits/unload", &narrower, "", 403),
        ("POST /v2/logging", &operator, r#"{"log_verbose_level":1}"#, 200),
        ("POST /v2/logging", &operator, r#"{"log_file":"/etc/passwd"}"#, 501),
        ("POST /v2/cache/purge", &operator, "", 200),
        // Who only looks leaves nothing.
        ("GET /v2/logging", &operator, "", 200),
        ("GET /v2/models/digits", &narrower, "", 200),
        ("POST /v2/models/digits/infer", &narrower, &crate::byte_json(1), 200),
    ] {
        let answer = guarded.ask(line, key, body).await;
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
    }
    let mut anonymous = guarded.server.connect().await.unwrap();
    let line = "POST /v2/repository/models/digits/load";
    let answer = anonymous.request(line, &["x-request-id: tell-tale"], b"").await.unwrap();
    assert_eq!(answer.status, 401);
    let rpc = "/inference.GRPCInferenceService/RepositoryModelUnload";
    let headers = [
        ("content-type", "application/grpc"),
        ("x-request-id", "over-grpc"),
    ];
    crate::support::call_raw(&guarded.server, rpc, &headers, crate::support::frame(&[])).await;

    let expected = [
        ("model_unload", "done", id.as_str(), json!("digits")),
        ("model_load", "done", &id, json!("digits")),
        ("model_load", "failed", &id, json!("missing")),
        ("model_unload", "refused", &reader, json!("digits")),
        ("log_update", "done", &id, Value::Null),
        ("log_update", "failed", &id, Value::Null),
        ("cache_purge", "done", &id, Value::Null),
        ("model_load", "refused", "", json!("digits")),
        ("model_unload", "refused", "", Value::Null),
    ];
    let lost = guarded.server.metric("adulis_audit_lost_total", &[]).await.unwrap();
    assert!(lost.abs() < f64::EPSILON);
    let lines = noted(&file, expected.len()).await;
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, (operation, outcome, who, target)) in lines.iter().zip(&expected) {
        let name = line["identity"]["name"].as_str().unwrap_or_default();
        let told = (
            line["operation"].as_str().unwrap(),
            line["outcome"].as_str().unwrap(),
            name,
            &line["target"],
        );
        // A client without credentials is noted as that.
        let who = if who.is_empty() { "anonymous" } else { who };
        assert_eq!(told, (*operation, *outcome, who, target), "{line}");
        assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
    }
    assert_eq!(
        (&lines[7]["request_id"], &lines[8]["request_id"]),
        (&json!("tell-tale"), &json!("over-grpc"))
    );
    guarded.server.logged(&["\"audit\"", "model_unload", "refused"]).await;
}

/// Without a file, the log is where it is noted: who may change what it shows must not hide that they did.
#[tokio::test]
async fn a_log_that_is_switched_off_tells_by_whom_and_what_they_did_then() {
    let guarded = Guarded::start("", &[]).await;
    let (id, operator) = guarded.key(&["--scope", "repository,logging"]);
    let off = r#"{"log_info":false,"log_warning":false,"log_error":false}"#;
    for (line, body) in [
        ("POST /v2/logging", off),
        ("POST /v2/repository/models/digits/unload", ""),
    ] {
        let answer = guarded.ask(line, &operator, body).await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
    }
    guarded.server.logged(&["\"audit\"", "log_update", "done", &id]).await;
    guarded.server.logged(&["\"audit\"", "model_unload", "done", &id]).await;
    assert!(!guarded.server.log().contains("unloaded"), "all else is hidden: {}", guarded.server.log());
}

#[tokio::test]
async fn what_may_be_a_change_is_noted_where_it_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let configuration = format!("[audit]\nfile = '{}'\n", file.display());
    let guarded = Guarded::start_in(folder, &configuration, &[]).await;
    let (id, narrower) = guarded.key(&["--scope", "infer"]);
    let key = format!("Bearer {narrower}");
    for rpc in ["LogSettings", "TraceSetting"] {
        let path = format!("/inference.GRPCInferenceService/{rpc}");
        let headers = [("content-type", "application/grpc"), ("authorization", &key)];
        let body = crate::support::frame(&[]);
        let (_, found) = crate::support::call_raw(&guarded.server, &path, &headers, body).await;
        assert_eq!(crate::support::status_of(&found).0, 7, "{rpc}");
    }
    let lines = noted(&file, 2).await;
    for (line, operation) in lines.iter().zip(["log_update", "trace_update"]) {
        let told = (&line["operation"], &line["outcome"], &line["identity"]["name"]);
        assert_eq!(told, (&json!(operation), &json!("refused"), &json!(id)));
    }
}

#[tokio::test]
async fn a_configuration_that_is_read_again_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let configuration = format!("[audit]\nfile = '{}'\n", file.display());
    let guarded = Guarded::start_in(folder, &configuration, &[]).await;
    let change = async |text: &str, count: usize| {
        std::fs::write(guarded.folder.path().join("adulis.toml"), format!("{configuration}{text}")).unwrap();
        send_signal(guarded.server.pid(), ProcessSignal::HangUp).unwrap();
        noted(&file, count).await.pop().unwrap()
    };
    let line = change("[log]\naccess = true\n[server]\nlame_duck = '1s'\n", 1).await;
    assert_eq!(line["identity"], json!({ "name": "server", "kind": "server" }));
    assert_eq!(
        (&line["operation"], &line["outcome"], &line["detail"]),
        (&json!("config_reload"), &json!("done"), &json!("server.lame_duck, log.access"))
    );
    let line = change("[log]\nacces = true\n", 2).await;
    assert_eq!((&line["outcome"], &line["target"]), (&json!("failed"), &Value::Null));
}
