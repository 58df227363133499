//! How many file descriptors a server has, and what it does without any.

use std::time::Duration;

use adulis_testing::{RawConnection, TestRepository, TestServer};

use crate::support::{after, byte_json, byte_model, serve};

const ACCEPTING: &str = "accepting a connection failed";

async fn ask(connection: &mut RawConnection) -> u16 {
    let body = byte_json(7);
    let answer = connection.request("POST /v2/models/byte/infer", &[], body.as_bytes()).await;
    answer.unwrap().status
}

fn failures(server: &TestServer) -> usize {
    server.log().lines().filter(|line| line.contains(ACCEPTING)).count()
}

#[tokio::test]
async fn without_file_descriptors_it_waits_and_goes_on_serving() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    let server = serve(&repository, &[]);
    server.ready().await;
    let mut old = server.connect().await.unwrap();
    assert_eq!(ask(&mut old).await, 200);

    let room = 4;
    server.limit_open_files(server.open_files().unwrap() + room).unwrap();
    // The kernel completes the handshakes; the server cannot take the last ones.
    let mut new = Vec::new();
    for _ in 0..room + 3 {
        new.push(server.connect().await.unwrap());
    }
    server.logged(&[ACCEPTING, "pause_seconds"]).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Pauses of 5, 10, 20, … ms: eight of them pass within 1.3 s. Without them it would be many thousands.
    let failed = failures(&server);
    assert!((2..=9).contains(&failed), "{failed} failures");
    assert_eq!(ask(&mut old).await, 200, "connections that are there are served meanwhile");

    // Those that were taken make room for those that were not.
    let waiting = new.split_off(usize::try_from(room).unwrap());
    drop(new);
    for mut connection in waiting {
        assert_eq!(ask(&mut connection).await, 200);
    }
    assert_eq!(ask(&mut server.connect().await.unwrap()).await, 200);
}

/// The soft and the hard limit of open files.
fn open_files_limits(server: &TestServer) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

#[tokio::test]
async fn as_many_files_may_be_open_as_the_hard_limit_allows() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    let path = repository.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = after(folder.path(), "ulimit -Sn 100; ulimit -Hn 1000");
    let start = |connections: &str| {
        let set = format!("server.max_connections={connections}");
        TestServer::start(&program, &[path, "--set", &set]).unwrap()
    };
    let (too_many, fitting) = (start("300"), start("248"));
    too_many.ready().await;
    assert_eq!(open_files_limits(&too_many), ("1000".to_owned(), "1000".to_owned()));
    too_many
        .logged(&[
            "takes 248 connections",
            "instead of server.max_connections",
            "ulimit -Hn",
        ])
        .await;
    // One more is told so, and does not wait for a file.
    let mut connections = Vec::new();
    let refused = loop {
        let mut connection = too_many.connect().await.unwrap();
        let answer = connection.request("GET /v2/health/live", &[], b"").await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        connections.push(connection);
        assert!(connections.len() <= 248, "more than there are files for");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(connections.len() > 240, "{} connections", connections.len());
    fitting.ready().await;
    assert!(!fitting.log().contains("server.max_connections"), "{}", fitting.log());
}
