//! Which models are loaded, and what happens to them while they are asked: real ONNX models, in the engine that needs no library.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use adulis_testing::{TestRepository, TestServer};
use serde_json::Value;
use tokio::task::{LocalSet, spawn_local};

use crate::models::{best_class, digits, scan_of_a_seven};
use crate::support::serve;

const PATIENCE: Duration = Duration::from_secs(60);

fn model() -> Vec<u8> {
    fs::read(digits("1/model.onnx")).unwrap()
}

fn put(repository: &TestRepository, version: u64, content: &[u8]) {
    let folder = repository.path().join("digits").join(version.to_string());
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.onnx"), content).unwrap();
}

fn polled(repository: &TestRepository) -> TestServer {
    let arguments = [
        "--engine",
        "tract",
        "--model-control-mode",
        "poll",
        "--repository-poll-secs",
        "1",
    ];
    serve(repository, &arguments)
}

/// The version that answers, and that it does so rightly; or the status and text of the error.
async fn answering_version(server: &TestServer) -> Result<String, (u16, String)> {
    let answer = server.infer("digits", &[], &scan_of_a_seven()).await.unwrap();
    let text = answer.text();
    if answer.status != 200 {
        return Err((answer.status, text));
    }
    assert_eq!(best_class(&text), Some(7), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    Ok(answer["model_version"].as_str().unwrap().to_owned())
}

async fn wait_for_version(server: &TestServer, version: &str) {
    let started = Instant::now();
    loop {
        let answer = answering_version(server).await;
        if answer.as_deref() == Ok(version) {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "waited for version {version}, saw {answer:?}\n{}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks until it is told to stop; every request must be answered rightly. Counts them.
async fn ask(server: Rc<TestServer>, stop: Rc<Cell<bool>>, answers: Rc<Cell<usize>>) {
    while !stop.get() {
        answering_version(&server).await.unwrap();
        answers.set(answers.get() + 1);
    }
}

#[tokio::test]
async fn a_polled_repository_changes_under_traffic() {
    LocalSet::new().run_until(changes_under_traffic()).await;
}

async fn changes_under_traffic() {
    let repository = TestRepository::new().unwrap();
    put(&repository, 1, &model());
    let server = Rc::new(polled(&repository));
    server.ready().await;
    wait_for_version(&server, "1").await;
    let (stop, answers) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| spawn_local(ask(Rc::clone(&server), Rc::clone(&stop), Rc::clone(&answers))))
        .collect();

    put(&repository, 2, &model());
    wait_for_version(&server, "2").await;

    // A truncated version must not take the place of one that serves.
    put(&repository, 3, &model()[..1000]);
    server.logged(&["ERROR", "\"version\":3", "\"reason\":\"failed to load"]).await;
    wait_for_version(&server, "2").await;
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(ready.status, 200, "the old version goes on: {}", ready.text());

    put(&repository, 3, &model());
    wait_for_version(&server, "3").await;

    // Version 3 again, with other content: nothing tells but the metrics, where each load is counted.
    let loads = || server.metric("adulis_model_loads_total", &["outcome=\"ok\""]);
    let before = loads().await.unwrap();
    let mut longer = model();
    longer.extend([0x7a, 0x00]); // an empty field 15 that no schema knows
    put(&repository, 3, &longer);
    let started = Instant::now();
    while loads().await.unwrap() == before {
        assert!(started.elapsed() < PATIENCE, "version 3 was not loaded again\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    wait_for_version(&server, "3").await;

    stop.set(true);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(answers.get() > 20);
    let ok = server
        .metric("adulis_inference_requests_total", &["version=\"3\"", "outcome=\"ok\""])
        .await;
    assert!(ok.unwrap() >= 1.0);
}

#[tokio::test]
async fn a_model_comes_in_pieces_and_goes() {
    let repository = TestRepository::new().unwrap();
    let server = polled(&repository);
    server.ready().await;
    let unknown = |answer: Result<String, (u16, String)>| {
        let (status, text) = answer.unwrap_err();
        assert_eq!(status, 404, "{text}");
        assert!(text.contains("Request for unknown model: 'digits' is not found"), "{text}");
    };
    unknown(answering_version(&server).await);
    let whole = model();
    let part = whole.len() / 8 + 1;
    for end in 1..=8 {
        put(&repository, 1, &whole[..(end * part).min(whole.len())]);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    wait_for_version(&server, "1").await;
    assert!(
        !server.log().contains("not loaded"),
        "what was being written was left alone: {}",
        server.log()
    );

    fs::remove_dir_all(repository.path().join("digits")).unwrap();
    server.logged(&["unloaded", "\"model\":\"digits\""]).await;
    unknown(answering_version(&server).await);
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text());
}

#[tokio::test]
async fn a_copy_that_pauses_for_long_is_taken_up_again() {
    let repository = TestRepository::new().unwrap();
    put(&repository, 1, &model()[..2000]);
    let server = polled(&repository);
    server.logged(&["ERROR", "\"version\":1", "\"reason\":\"failed to load"]).await;
    put(&repository, 1, &model());
    wait_for_version(&server, "1").await;
    server.ready().await;
}

#[tokio::test]
async fn with_explicit_control_only_what_is_named_is_loaded() {
    let repository = TestRepository::new().unwrap();
    put(&repository, 1, &model());
    copy(&repository.path().join("digits"), &repository.path().join("other"));
    let arguments = [
        "--engine",
        "tract",
        "--model-control-mode",
        "explicit",
        "--load-model",
        "digits",
    ];
    let server = serve(&repository, &arguments);
    server.ready().await;
    wait_for_version(&server, "1").await;
    let answer = server.infer("other", &[], &scan_of_a_seven()).await.unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("1")).unwrap();
    fs::copy(from.join("1/model.onnx"), to.join("1/model.onnx")).unwrap();
}
