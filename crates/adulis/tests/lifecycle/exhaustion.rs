//! A server that has run out of file descriptors.

use std::time::Duration;

use adulis_testing::{RawConnection, TestRepository, TestServer};

use crate::support::{byte_json, byte_model, serve};

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
