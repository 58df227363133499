//! A full disk, as the limit of the size of files has it, which needs no rights: SQLite, audit log, log.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use adulis_testing::{RawConnection, TestRepository, TestServer};

use crate::support::{after, byte_json, byte_model};
use crate::{ask, assert_ok, until};

/// Without it the kernel ends a process that writes more than it may.
const IGNORE: &str = "trap '' XFSZ";
const WRITTEN: &str = "adulis_inference_log_written_total";

fn models() -> TestRepository {
    let repository = TestRepository::new().unwrap();
    repository.identity("digits", &byte_model(&[("fail_on", "99")])).unwrap();
    repository.identity("other", &byte_model(&[])).unwrap();
    repository
}

/// A server that keeps its store and its audit log in a folder.
fn with_files(repository: &TestRepository, folder: &Path) -> TestServer {
    let set = |key: &str, file: &str| format!("{key}{}", folder.join(file).display());
    let (store, audit) = (set("store.url=sqlite:", "adulis.db"), set("audit.file=", "audit.jsonl"));
    let program = after(folder, IGNORE);
    let arguments = [
        repository.path().to_str().unwrap(),
        "--model-control-mode",
        "explicit",
        "--load-model",
        "*",
        "--set",
        &store,
        "--set",
        &audit,
        "--set",
        "store.usage=true",
        "--set",
        "inference_log.models.digits.sample_rate=1",
        "--set",
        "inference_log.flush_interval=50ms",
    ];
    TestServer::start(&program, &arguments).unwrap()
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[tokio::test]
async fn a_full_disk_stops_no_request_and_is_written_to_again_when_there_is_room() {
    let (repository, folder) = (models(), tempfile::tempdir().unwrap());
    let audit = folder.path().join("audit.jsonl");
    let server = with_files(&repository, folder.path());
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    assert_ok(&ask(&mut connection, "digits", &[], 1).await);
    server.metric_reaches(WRITTEN, &[], 1.0).await;
    let load = "/v2/repository/models/other/load";
    assert_ok(&server.post(load, "").await.unwrap());
    until("the change is noted", &server, async || lines(&audit) == 1).await;

    server.limit_file_size(Some(0)).unwrap();
    for byte in 0..50 {
        let asked = Instant::now();
        assert_ok(&ask(&mut connection, "digits", &[], byte).await);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    assert_ok(&server.post(load, "").await.unwrap());
    // It is told: in readiness, which stays green, in metrics and in the log.
    server.metric_reaches("adulis_store_up", &[], 0.0).await;
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_ok(&ready);
    assert!(ready.text().contains(r#""store":{"up":false,"reason":"#), "{}", ready.text());
    server.metric_reaches("adulis_audit_lost_total", &[], 1.0).await;
    server.logged(&["ERROR", "the audit log cannot be written"]).await;
    assert_eq!(server.metric(WRITTEN, &[]).await.unwrap(), 1.0);

    server.limit_file_size(None).unwrap();
    server.metric_reaches(WRITTEN, &[], 51.0).await;
    server.metric_reaches("adulis_store_up", &[], 1.0).await;
    assert_eq!(server.metric("adulis_inference_log_dropped_total", &[]).await.unwrap(), 0.0);
    assert_ok(&server.post(load, "").await.unwrap());
    until("changes are noted again", &server, async || lines(&audit) == 2).await;
}

/// A port that was free a moment ago: nothing tells which one is served where nothing can be told.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_no_request() {
    let (repository, folder) = (models(), tempfile::tempdir().unwrap());
    let address = format!("127.0.0.1:{}", free_port());
    let program = after(folder.path(), "exec 2>/dev/full");
    let models = repository.path().to_str().unwrap();
    let arguments = [models, "--http", &address, "--set", "log.access=true"];
    let server = TestServer::start(&program, &arguments).unwrap();
    let address = address.parse().unwrap();
    until("it serves", &server, async || match RawConnection::open(address).await {
        Ok(mut connection) => connection
            .request("GET /v2/health/ready", &[], b"")
            .await
            .is_ok_and(|ready| ready.status == 200),
        Err(_) => false,
    })
    .await;
    assert_eq!(server.log(), "");
    let mut connection = RawConnection::open(address).await.unwrap();
    for byte in 0..100 {
        // Each is told to the log, and those that fail more than once.
        let expected = if byte == 99 { 500 } else { 200 };
        let answer = ask(&mut connection, "digits", &[], byte).await;
        assert_eq!(answer.status, expected, "{byte}: {}", answer.text());
    }
    let answer = connection.request("POST /v2/models/nobody/infer", &[], byte_json(1).as_bytes()).await;
    assert_eq!(answer.unwrap().status, 404);
}
