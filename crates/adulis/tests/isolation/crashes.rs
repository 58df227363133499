//! Models that end their process, take too much memory, or cannot be loaded again.

use adulis_testing::{IdentityModel, ProcessSignal, TestRepository, send_signal};
use tokio::task::JoinSet;

use crate::support::{BINARY, byte_json, byte_model, serve};
use crate::{deaths, workers};

/// Requests of one batch, one of which ends the process that runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_request_fails_that_kills() {
    let repository = TestRepository::new().unwrap();
    let model = IdentityModel {
        max_batch_size: 4,
        more: "dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 20000000 }",
        ..byte_model(&[("abort_on", "113")])
    };
    repository.identity("touchy", &model).unwrap();
    let server = serve(&repository, &["--workers", "2", "--set", "workers.min_delay=10ms"]);
    server.ready().await;
    let mut requests = JoinSet::new();
    for byte in [1, 113, 2, 3] {
        let mut connection = server.connect().await.unwrap();
        requests.spawn(async move {
            let body = byte_json(byte);
            let answer = connection.request("POST /v2/models/touchy/infer", &[], body.as_bytes()).await;
            (byte, answer.unwrap())
        });
    }
    for (byte, answer) in requests.join_all().await {
        if byte == 113 {
            assert_eq!(answer.status, 500, "{}", answer.text());
            assert!(answer.text().contains("2 worker processes died"), "{}", answer.text());
        } else {
            assert_eq!(answer.status, 200, "{byte}: {}", answer.text());
        }
    }
    // The batch twice, then the one request twice.
    server
        .wait("four deaths", async || (deaths(&server, "aborted").await == 4.0).then_some(()))
        .await;
    server.ready().await;
}

/// A panic there is told as one here.
#[tokio::test]
async fn a_panic_in_a_worker_is_an_answer() {
    let repository = TestRepository::new().unwrap();
    repository
        .identity("touchy", &byte_model(&[("panic_on", "113"), ("fail_on", "114")]))
        .unwrap();
    let server = serve(&repository, &["--workers", "1"]);
    server.ready().await;
    for (byte, status, says) in [
        (113, 500, "model 'touchy': the backend panicked\""),
        (1, 200, "[1]"),
        (114, 500, "model 'touchy': execution failed: asked to fail"),
        (2, 200, "[2]"),
    ] {
        let answer = server.infer("touchy", &[], &byte_json(byte)).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    assert_eq!(deaths(&server, "").await, 0.0, "{}", server.log());
}

#[tokio::test]
async fn memory_is_limited_for_each_worker() {
    let repository = TestRepository::new().unwrap();
    for (name, bytes) in [("greedy", "1073741824"), ("modest", "1048576")] {
        let parameters = [
            ("allocate_on", "7"),
            ("allocate_bytes", bytes),
            ("worker_memory_bytes", "268435456"),
        ];
        repository.identity(name, &byte_model(&parameters)).unwrap();
    }
    let server = serve(&repository, &["--workers", "1", "--set", "workers.min_delay=10ms"]);
    server.ready().await;
    let answer = server.infer("modest", &[], &byte_json(7)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = server.infer("greedy", &[], &byte_json(7)).await.unwrap();
    assert_eq!(answer.status, 500, "{}", answer.text());
    let answer = server.infer("greedy", &[], &byte_json(8)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let died = server.metric("adulis_worker_deaths_total", &["model=\"greedy\"", "cause=\"aborted\""]);
    assert_eq!(died.await.unwrap(), 2.0, "{}", server.log());
    assert_eq!(server.metric("adulis_worker_deaths_total", &["model=\"modest\""]).await.unwrap(), 0.0);
}

/// A model whose file breaks while it serves: its worker cannot be started again, which makes it not ready, with the reason;
/// once the file is good again, so is the model.
#[tokio::test]
async fn a_crash_loop_makes_the_model_not_ready_until_it_ends() {
    let digits = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits");
    let good = std::fs::read(digits.join("1/model.onnx")).unwrap();
    let request = std::fs::read_to_string(digits.join("request.json")).unwrap();
    let repository = TestRepository::new().unwrap();
    let file = repository.onnx("digits", &good).unwrap();
    repository.identity("byte", &byte_model(&[("isolation", "none")])).unwrap();
    let delays = ["min_delay=10ms", "max_delay=200ms", "max_crashes=3"];
    let delays = delays.map(|delay| format!("workers.{delay}"));
    let delays = delays.iter().flat_map(|delay| ["--set", delay]);
    let arguments: Vec<&str> = ["--workers", "1", "--engine", "tract"].into_iter().chain(delays).collect();
    let server = serve(&repository, &arguments);
    server.ready().await;
    let answer = server.infer("digits", &[], &request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());

    std::fs::write(&file, &good[..good.len() / 2]).unwrap();
    let worker = workers(&server, 1).await[0];
    send_signal(worker, ProcessSignal::Kill).unwrap();
    let status = async |path: &str| server.get(path).await.unwrap().status;
    server
        .wait("a model that is not ready", async || {
            (status("/v2/models/digits/ready").await == 503).then_some(())
        })
        .await;
    let answer = server.infer("digits", &[], &request).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    for text in [
        "model 'digits' is not ready",
        "died",
        "times in a row",
        "cannot load",
    ] {
        assert!(answer.text().contains(text), "{text:?} is not in {}", answer.text());
    }
    assert_eq!(status("/v2/health/ready").await, 503);
    let answer = server.infer("byte", &[], &byte_json(1)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());

    std::fs::write(&file, &good).unwrap();
    server.ready().await;
    let answer = server.infer("digits", &[], &request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A model that answers now and then, and dies again at once, is left alone for longer each time, and tells why it is not ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_dies_after_every_answer_turns_red() {
    let repository = TestRepository::new().unwrap();
    repository.identity("touchy", &byte_model(&[("abort_on", "113")])).unwrap();
    let settings = [
        "workers.min_delay=300ms",
        "workers.max_delay=2s",
        "workers.max_crashes=3",
    ];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["--workers", "1"].into_iter().chain(settings).collect();
    let server = serve(&repository, &arguments);
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    let asking = tokio::spawn(async move {
        loop {
            for byte in [1, 113] {
                let body = byte_json(byte);
                let answer = connection.request("POST /v2/models/touchy/infer", &[], body.as_bytes()).await;
                answer.unwrap();
            }
        }
    });
    server
        .wait("a model that is not ready", async || {
            (server.get("/v2/models/touchy/ready").await.unwrap().status == 503).then_some(())
        })
        .await;
    asking.abort();
    server.ready().await;
    let answer = server.infer("touchy", &[], &byte_json(2)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn no_worker_is_started_by_hand() {
    let output = tokio::task::spawn_blocking(|| {
        std::process::Command::new(BINARY)
            .arg("worker")
            .stdin(std::process::Stdio::null())
            .output()
    });
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("started by a server"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}
