//! A repository in object storage: no room for its mirror, and storage that is away. The models that are there answer meanwhile.

use std::path::Path;

use adulis_testing::{RawConnection, S3Server, TestServer, Trouble};

use crate::support::{after, byte_model};
use crate::{ask, assert_ok, until};

/// Storage without credentials, for a process that a file which may not grow does not end.
const WORDS: &str = "trap '' XFSZ; export AWS_SKIP_SIGNATURE=true AWS_REGION=here";
/// The state of a breaker that leaves storage alone.
const OPEN: f64 = 2.0;
/// What the second form of the model `digits` refuses, which tells it from the first.
const REFUSED: u8 = 99;

/// Puts version 1 of a model there. It refuses one byte, or none.
fn put(bucket: &S3Server, model: &str, refused: Option<u8>) {
    let refused = refused.map(|byte| byte.to_string());
    let parameters: Vec<(&str, &str)> = refused.iter().map(|byte| ("fail_on", byte.as_str())).collect();
    bucket.put(&format!("models/{model}/config.pbtxt"), &byte_model(&parameters).config(model));
    bucket.put(&format!("models/{model}/1/weights"), "none");
}

/// A server that looks at the bucket each second, and keeps its mirror in a folder. It has the model `digits`.
async fn with_mirror(bucket: &S3Server, folder: &Path) -> TestServer {
    put(bucket, "digits", None);
    let url = format!("s3://{}/bucket/models", bucket.address);
    let mirror = format!("storage.cache_folder={}", folder.join("mirror").display());
    let arguments = [
        &url,
        "--model-control-mode",
        "poll",
        "--repository-poll-secs",
        "1",
        "--set",
        &mirror,
        "--set",
        "storage.max_retries=0",
        "--set",
        "storage.breaker.max_delay=500ms",
    ];
    let server = TestServer::start(&after(folder, WORDS), &arguments).unwrap();
    server.ready().await;
    server
}

/// Whether a model answers; else it is not there.
async fn answers(connection: &mut RawConnection, model: &str) -> bool {
    let answer = ask(connection, model, &[], 1).await;
    assert!([200, 404, 503].contains(&answer.status), "{}", answer.text());
    answer.status == 200
}

/// The model `digits` answers as it did at the start, and the server is ready.
async fn goes_on(server: &TestServer, connection: &mut RawConnection) {
    for byte in 0..=REFUSED {
        assert_ok(&ask(connection, "digits", &[], byte).await);
    }
    assert_ok(&server.get("/v2/health/ready").await.unwrap());
}

#[tokio::test]
async fn a_mirror_without_room_stops_no_request_and_is_filled_when_there_is_room() {
    let (bucket, folder) = (S3Server::start(&[]), tempfile::tempdir().unwrap());
    let server = with_mirror(&bucket, folder.path()).await;
    let mut connection = server.connect().await.unwrap();
    server.limit_file_size(Some(0)).unwrap();
    put(&bucket, "digits", Some(REFUSED));
    put(&bucket, "fresh", None);
    server.logged(&["ERROR", "the folder for its mirror", "File too large"]).await;
    goes_on(&server, &mut connection).await;
    assert!(!answers(&mut connection, "fresh").await, "nothing of it can be there");

    server.limit_file_size(None).unwrap();
    until("the new model is there", &server, async || answers(&mut connection, "fresh").await).await;
    until("the new files are there", &server, async || {
        ask(&mut connection, "digits", &[], REFUSED).await.status == 500
    })
    .await;
}

#[tokio::test]
async fn storage_that_is_away_stops_no_request() {
    let (bucket, folder) = (S3Server::start(&[]), tempfile::tempdir().unwrap());
    let server = with_mirror(&bucket, folder.path()).await;
    let mut connection = server.connect().await.unwrap();
    for (fresh, trouble) in [("one", Trouble::Closes), ("two", Trouble::Status(503))] {
        bucket.trouble("", usize::MAX, trouble);
        put(&bucket, fresh, None);
        // Looks fail until it is left alone.
        until("its breaker opens", &server, async || {
            goes_on(&server, &mut connection).await;
            server.metric("adulis_storage_breaker_state", &[]).await.unwrap() == OPEN
        })
        .await;
        server.logged(&["ERROR", &bucket.address.to_string(), "cannot be read"]).await;
        assert!(!answers(&mut connection, fresh).await, "nothing of it can be there");

        bucket.end_trouble();
        until("the new model is there", &server, async || answers(&mut connection, fresh).await).await;
        goes_on(&server, &mut connection).await;
    }
}
