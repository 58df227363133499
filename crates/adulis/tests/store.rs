//! The real binary with a store: what passes is logged, counted, and exported.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::process::Command;
use std::time::Duration;

use adulis_testing::{PostgresServer, StopSignal, TestRepository, TestServer};
use serde_json::{Value, json};
use support::{BINARY, byte_json, byte_message, byte_model, grpc, serve};

fn repository() -> TestRepository {
    let repository = TestRepository::new().unwrap();
    repository.identity("digits", &byte_model(&[])).unwrap();
    repository.identity("other", &byte_model(&[])).unwrap();
    repository
}

fn served(repository: &TestRepository, url: &str) -> TestServer {
    let url = format!("store.url={url}");
    serve(
        repository,
        &[
            "--set",
            &url,
            "--set",
            "store.usage=true",
            "--set",
            "inference_log.models.digits.sample_rate=1",
            "--set",
            "store.pool.acquire_timeout=500ms",
        ],
    )
}

async fn stop(mut server: TestServer) {
    server.signal(StopSignal::Terminate).unwrap();
    assert!(server.exit(Duration::from_secs(30)).await.unwrap().success(), "{}", server.log());
}

/// `adulis log export`, and what it says.
fn export(url: &str, arguments: &[&str]) -> (bool, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command
        .current_dir(folder.path())
        .args(["log", "export", "--set", &format!("store.url={url}")]);
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn lines(url: &str, arguments: &[&str]) -> Vec<Value> {
    let (success, out, complaints) = export(url, arguments);
    assert!(success, "{complaints}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Requests over REST and gRPC, a stop, and what is in the log afterwards.
async fn what_passes_is_logged(url: &str) {
    let repository = repository();
    let server = served(&repository, url);
    server.ready().await;
    let id = ["x-request-id: mine"];
    assert_eq!(server.infer("digits", &id, &byte_json(7)).await.unwrap().status, 200);
    assert_eq!(server.infer("other", &[], &byte_json(8)).await.unwrap().status, 200);
    let answer = grpc(&server).await.model_infer(byte_message("digits", 9)).await.unwrap();
    drop(answer);
    assert_eq!(server.infer("digits", &[], r#"{"inputs":[]}"#).await.unwrap().status, 400);
    let ready = server.get("/v2/health/ready").await.unwrap().text();
    assert!(ready.contains(r#""store":{"up":true}"#), "{ready}");
    stop(server).await;

    let logged = lines(url, &[]);
    let outcomes: Vec<_> = logged.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["ok", "ok", "invalid_argument"], "{logged:?}");
    assert_eq!(logged[0]["request_id"], "mine");
    for (line, byte) in [(&logged[0], 7), (&logged[1], 9)] {
        let tensor = |name| json!([{"name": name, "datatype": "UINT8", "shape": [1, 1], "data": [byte]}]);
        assert_eq!((&line["inputs"], &line["outputs"]), (&tensor("INPUT0"), &tensor("OUTPUT0")));
    }
    assert_eq!(lines(url, &["--model", "other"]).len(), 0);
    assert_eq!(lines(url, &["--until", "1h"]).len(), 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.parquet");
    let (success, out, complaints) = export(
        url,
        &[
            "--since",
            "1h",
            "--format",
            "parquet",
            "-o",
            file.to_str().unwrap(),
        ],
    );
    assert!(success && out.is_empty() && complaints.contains("3 records"), "{out}{complaints}");
    let written = std::fs::read(&file).unwrap();
    assert!(written.starts_with(b"PAR1") && written.ends_with(b"PAR1"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half done is left");
}

#[tokio::test]
async fn a_file_is_made_and_keeps_what_passes() {
    let folder = tempfile::tempdir().unwrap();
    what_passes_is_logged(&format!("sqlite:{}", folder.path().join("data/adulis.db").display())).await;
}

#[tokio::test]
async fn replicas_share_a_server() {
    let server = PostgresServer::start().expect("PostgreSQL starts");
    what_passes_is_logged(&server.url()).await;
}

#[tokio::test]
async fn a_database_that_is_down_is_told_and_stops_nothing() {
    let mut database = PostgresServer::start().expect("PostgreSQL starts");
    database.stop().unwrap();
    let repository = repository();
    let server = served(&repository, &database.url());
    server.ready().await;
    assert_eq!(server.infer("digits", &[], &byte_json(7)).await.unwrap().status, 200);
    server.metric_reaches("adulis_store_up", &[], 0.0).await;
    let ready = server.get("/v2/health/ready").await.unwrap();
    let body: Value = serde_json::from_str(&ready.text()).unwrap();
    assert_eq!((ready.status, &body["ready"]), (200, &json!(true)));
    assert_eq!(body["dependencies"]["store"]["up"], json!(false), "{body}");
    database.resume().unwrap();
    server.metric_reaches("adulis_inference_log_written_total", &[], 1.0).await;
    server.metric_reaches("adulis_store_up", &[], 1.0).await;
    stop(server).await;
}

#[test]
fn exports_that_cannot_be_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let gone = format!("sqlite:{}", folder.path().join("gone.db").display());
    let (success, _, complaints) = export(&gone, &[]);
    assert!(!success && complaints.contains("there is no store at"), "{complaints}");
    let (success, _, complaints) = export("mysql://user:secret@host/db", &[]);
    assert!(
        !success && complaints.contains("store.url") && !complaints.contains("secret"),
        "{complaints}"
    );
    let (success, _, complaints) = export(&gone, &["--since", "yesterday"]);
    assert!(!success && complaints.contains("2026-11-26T09:30:00Z"), "{complaints}");
}

#[tokio::test]
async fn inputs_are_looked_up_by_an_id() {
    let database = PostgresServer::start().expect("PostgreSQL starts");
    let repository = TestRepository::new().unwrap();
    database
        .run("CREATE TABLE customers (id INT PRIMARY KEY, age INT); INSERT INTO customers VALUES (1, 41)")
        .unwrap();
    let lookup = r#"{"key": "customer", "datatype": "INT64", "table": "customers", "key_column": "id",
        "inputs": {"INPUT0": "age"}}"#;
    repository
        .identity("digits", &byte_model(&[("lookup", &lookup.replace('"', "\\\"").replace('\n', ""))]))
        .unwrap();
    let url = format!("store.url={}", database.url());
    let server = serve(&repository, &["--set", &url, "--set", "store.lookup=true"]);
    server.ready().await;
    let ask = async |id: u8| {
        let body =
            format!(r#"{{"inputs":[{{"name":"customer","datatype":"INT64","shape":[1],"data":[{id}]}}]}}"#);
        server.infer("digits", &[], &body).await.unwrap()
    };
    let found = ask(1).await;
    assert!(found.status == 200 && found.text().contains(r#""data":[41]"#), "{}", found.text());
    let missing = ask(9).await;
    assert_eq!(missing.status, 400, "{}", missing.text());
    assert!(missing.text().contains("nothing is known of 9"), "{}", missing.text());
    let metadata = server.get("/v2/models/digits").await.unwrap().text();
    assert!(metadata.contains("customer") && !metadata.contains("INPUT0"), "{metadata}");
    stop(server).await;
}
