//! What models are told of isolation, and what their workers see.

use adulis_testing::{IdentityModel, TestRepository, children};

use crate::load::Load;
use crate::support::{byte_json, byte_model, serve};
use crate::{deaths, workers};

#[tokio::test]
async fn a_model_says_for_itself_whether_it_is_isolated() {
    let repository = TestRepository::new().unwrap();
    let two = [("isolation", "process"), ("workers", "2")];
    repository.identity("isolated", &byte_model(&two)).unwrap();
    repository.identity("plain", &byte_model(&[])).unwrap();
    let server = serve(&repository, &[]);
    server.ready().await;
    workers(&server, 2).await;
    server.logged(&["\"loaded\"", "isolated", "in 2 worker processes"]).await;
    for model in ["isolated", "plain"] {
        let answer = server.infer(model, &[], &byte_json(5)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(server.metric("adulis_workers", &["model=\"isolated\""]).await.unwrap(), 2.0);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_says_why_as_it_does_elsewhere() {
    let repository = TestRepository::new().unwrap();
    repository.onnx("prose", b"This is no model.").unwrap();
    repository.identity("odd", &byte_model(&[("isolation", "perhaps")])).unwrap();
    let server = serve(&repository, &["--workers", "1", "--engine", "tract"]);
    server.logged(&["not ready: see the models"]).await;
    server.logged(&["ERROR", "prose", "failed to load: cannot load", "model.onnx"]).await;
    server.logged(&["ERROR", "odd", "parameters.isolation", "perhaps"]).await;
    assert!(children(server.pid()).unwrap().is_empty());
}

/// Unloaded, a model's processes are gone.
#[tokio::test]
async fn an_unload_ends_the_workers() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    let explicit = ["--workers", "2", "--model-control-mode", "explicit"];
    let server = serve(&repository, &explicit);
    server.ready().await;
    for _ in 0..2 {
        let answer = server.post("/v2/repository/models/byte/load", "{}").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        workers(&server, 2).await;
        // Beside what serves: afterwards there are as many as before.
        let answer = server.post("/v2/repository/models/byte/load", "{}").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = server.infer("byte", &[], &byte_json(5)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        workers(&server, 2).await;
        let answer = server.post("/v2/repository/models/byte/unload", "{}").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        workers(&server, 0).await;
    }
    assert_eq!(server.metric("adulis_worker_deaths_total", &[]).await.unwrap(), 0.0, "{}", server.log());
}

/// Loaded again and again under load, with other files each time; they change while a load is under way, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_is_loaded_again_under_load_costs_no_request() {
    let repository = TestRepository::new().unwrap();
    let write = |delay: usize| {
        let delay = delay.to_string();
        repository
            .identity("byte", &byte_model(&[("execute_delay_microseconds", &delay)]))
            .unwrap();
    };
    write(500);
    let explicit = [
        "--workers",
        "2",
        "--model-control-mode",
        "explicit",
        "--load-model",
        "byte",
    ];
    let server = serve(&repository, &explicit);
    server.ready().await;
    let load = Load::start(&server, "byte", 8).await;
    for time in 0..4 {
        let before = load.answered();
        write(600 + time);
        let reload = async || server.post("/v2/repository/models/byte/load", "{}").await.unwrap();
        let swap = async || {
            // While the first of the two loads is under way.
            server
                .wait("workers beside those that serve", async || {
                    (children(server.pid()).ok()?.len() > 2).then_some(())
                })
                .await;
            write(700 + time);
            reload().await
        };
        let (first, second) = tokio::join!(reload(), swap());
        for answer in [first, second] {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        load.go_on(&server, &before, 2).await;
    }
    let answered = load.stop().await;
    assert!(answered > 100, "{answered}");
    workers(&server, 2).await;
    assert_eq!(server.metric("adulis_model_loads_total", &["outcome=\"ok\""]).await.unwrap(), 9.0);
    assert_eq!(deaths(&server, "").await, 0.0, "{}", server.log());
}

#[tokio::test]
async fn secrets_of_the_server_do_not_reach_workers() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    // What is set by a flag is not in the environment; what is in the environment is seen by who starts the server only.
    let server = serve(&repository, &["--workers", "1", "--set", "cache.redis.password=hunter2"]);
    server.ready().await;
    let worker = workers(&server, 1).await[0];
    let seen = ["environ", "cmdline"].map(|file| std::fs::read(format!("/proc/{worker}/{file}")).unwrap());
    for bytes in seen {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("hunter2") && !text.contains("ADULIS_"), "{text}");
    }
    let score = std::fs::read_to_string(format!("/proc/{worker}/oom_score_adj")).unwrap();
    assert_eq!(score.trim(), "500");
}

/// Large tensors go through files in memory, batches larger than may be not at all.
#[tokio::test]
async fn tensors_of_any_size_come_back_as_they_were() {
    let repository = TestRepository::new().unwrap();
    let model = IdentityModel { inputs: &[("UINT8", "-1")], max_batch_size: 0, ..IdentityModel::default() };
    repository.identity("any", &model).unwrap();
    let server = serve(&repository, &["--workers", "1", "--set", "workers.max_transfer_bytes=1MiB"]);
    server.ready().await;
    for bytes in [0, 1, 100, 32 << 10, (32 << 10) + 1, 1 << 20] {
        let data: Vec<u8> = (0..bytes).map(|index| u8::try_from(index % 251).unwrap()).collect();
        let answer = server.infer_binary("any", ("INPUT0", "UINT8"), &data).await.unwrap();
        assert_eq!(answer.status, 200, "{bytes}: {}", answer.text());
        assert!(answer.body.ends_with(&data), "{bytes}");
    }
    let answer = server.infer_binary("any", ("INPUT0", "UINT8"), &vec![0; (1 << 20) + 1]).await.unwrap();
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("workers.max_transfer_bytes"), "{}", answer.text());
    assert_eq!(server.metric("adulis_worker_deaths_total", &[]).await.unwrap(), 0.0, "{}", server.log());
}
