//! A database that goes away while clients are known by their keys.

use std::process::Command;
use std::time::{Duration, Instant};

use adulis_testing::{PostgresServer, RawConnection, TestRepository};

use crate::support::{BINARY, byte_message, byte_model, infer_raw, serve};
use crate::{ask, until};

/// For how long a key that was valid still is.
const OUTAGE: Duration = Duration::from_secs(8);
/// How long a look-up waits for a connection. No request of a known client does.
const PATIENCE: Duration = Duration::from_secs(3);

fn key(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command
        .current_dir(folder.path())
        .args(["keys", "create", "test", "--scope", "infer", "--set", url]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn status(connection: &mut RawConnection, key: &str) -> u16 {
    ask(connection, "digits", &[&format!("x-api-key: {key}")], 7).await.status
}

#[tokio::test]
async fn who_is_known_is_answered_while_the_database_is_away() {
    let mut database = PostgresServer::start().expect("PostgreSQL starts");
    let url = format!("store.url={}", database.url());
    let [known, other] = [key(&url), key(&url)];
    let repository = TestRepository::new().unwrap();
    repository.identity("digits", &byte_model(&[])).unwrap();
    let settings = [
        "auth.enabled=true",
        "auth.ttl=300ms",
        "auth.outage=8s",
        "store.pool.acquire_timeout=3s",
        &url,
    ];
    let server = serve(&repository, &settings.map(|setting| ["--set", setting]).concat());
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    assert_eq!(status(&mut connection, &known).await, 200);

    database.stop().unwrap();
    let stopped = Instant::now();
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    while stopped.elapsed() < OUTAGE - Duration::from_secs(2) {
        let begun = Instant::now();
        assert_eq!(status(&mut connection, &known).await, 200, "after {:?}", stopped.elapsed());
        let (code, message) = infer_raw(&server, &[("x-api-key", &known)], &byte_message("digits", 7)).await;
        assert_eq!(code, 0, "{message}");
        slowest = slowest.max(begun.elapsed());
        asked += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < PATIENCE / 2, "of {asked} requests one took {slowest:?}");
    // Of whom nothing is known, nothing can be found out.
    assert_eq!(status(&mut server.connect().await.unwrap(), &other).await, 503);
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text());
    until("what was known is so no longer", &server, async || {
        status(&mut connection, &known).await == 503
    })
    .await;
    assert!(stopped.elapsed() >= OUTAGE, "{:?}", stopped.elapsed());

    database.resume().unwrap();
    for key in [&known, &other] {
        until("it is known again", &server, async || status(&mut connection, key).await == 200).await;
    }
    assert_eq!(status(&mut connection, "adulis_nobody").await, 401);
}
