use std::path::Path;
use std::time::{Duration, Instant};

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
