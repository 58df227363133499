use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn a_reload_brings_the_new_model() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, explicit());
    server.load("m").await.unwrap();
    repository.put("m", 1, "add=2");
    assert_eq!(server.adds("m", None).await, Ok(1), "until somebody asks for it");
    server.load("m").await.unwrap();
    assert_eq!(server.adds("m", None).await, Ok(2));
    wait_until("the old one to go", || server.backend.models() == 1, || server.backend.models()).await;
    assert_eq!(server.index(), ["m 1 READY"]);
}

#[tokio::test]
async fn a_reload_that_fails_keeps_the_old_one_and_says_why() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, explicit());
    server.load("m").await.unwrap();

    repository.put("m", 1, "?");
    let why = "version 1: cannot load model.onnx: the file is corrupt";
    assert_eq!(server.load("m").await.unwrap_err(), format!("failed to load 'm', {why}"));
    assert_eq!(server.index(), [format!("m 1 READY {why}")]);

    // The highest version is the one that serves: a corrupt new one must not take its place.
    repository.put("m", 1, "add=1");
    repository.put("m", 2, "?");
    let why = "version 2: cannot load model.onnx: the file is corrupt";
    assert_eq!(server.load("m").await.unwrap_err(), format!("failed to load 'm', {why}"));
    let two = "m 2 UNAVAILABLE cannot load model.onnx: the file is corrupt";
    assert_eq!(server.index(), [format!("m 1 READY {why}"), two.to_owned()]);

    repository.configure("m", "max_batch_sice = 1");
    assert!(server.load("m").await.unwrap_err().contains("max_batch_sice"));
    assert_eq!(server.adds("m", None).await, Ok(1));
    assert_eq!(server.adds("m", Some(1)).await, Ok(1));
    assert!(server.engine.ready(), "it answers as before");
    assert_eq!(server.backend.models(), 1);

    repository.configure("m", "max_batch_size = 1");
    repository.put("m", 2, "add=2");
    server.load("m").await.unwrap();
    assert_eq!(server.adds("m", None).await, Ok(2));
}

#[tokio::test]
async fn versions_that_leave_the_policy_are_unloaded_once_the_new_ones_are_ready() {
    let repository = Repository::new();
    repository.configure("m", "version_policy = { latest = 2 }");
    repository.put("m", 1, "add=1");
    repository.put("m", 2, "add=2");
    let server = Server::start(&repository, explicit());
    server.load("m").await.unwrap();
    assert_eq!(server.index(), ["m 1 READY", "m 2 READY"]);
    repository.put("m", 3, "add=3 load=100");
    let load = server.load("m");
    tokio::pin!(load);
    loop {
        let answer = server.adds("m", Some(1)).await;
        if tokio::time::timeout(Duration::from_millis(5), &mut load).await.is_ok() {
            break;
        }
        assert_eq!(answer, Ok(1), "answers until the new ones are ready");
    }
    assert_eq!(server.adds("m", None).await, Ok(3));
    assert_eq!(server.adds("m", Some(2)).await, Ok(2));
    assert!(server.adds("m", Some(1)).await.is_err());
    server.wait_for_index(&["m 1 UNAVAILABLE unloaded", "m 2 READY", "m 3 READY"]).await;
    assert!(server.engine.ready());

    repository.configure("m", "version_policy = { specific = [1] }");
    server.load("m").await.unwrap();
    server
        .wait_for_index(&[
            "m 1 READY",
            "m 2 UNAVAILABLE unloaded",
            "m 3 UNAVAILABLE unloaded",
        ])
        .await;
    assert_eq!(server.adds("m", None).await, Ok(1));

    repository.configure("m", "version_policy = \"all\"");
    server.load("m").await.unwrap();
    assert_eq!(server.index(), ["m 1 READY", "m 2 READY", "m 3 READY"]);
}

/// Asks until it is told to stop; counts the answers, each of which must be right.
async fn ask(server: Arc<Server>, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>, allowed: &'static [u8]) {
    while !stop.load(Ordering::Relaxed) {
        let adds = server.adds("m", None).await.unwrap();
        assert!(allowed.contains(&adds), "{adds}");
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

async fn reload_under_traffic(settings: Settings, run: &str) {
    const RELOADS: usize = 40;
    let repository = Repository::new();
    repository.put("m", 1, &format!("add=1 {run}"));
    let server = Arc::new(Server::start(&repository, settings));
    server.load("m").await.unwrap();
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..16)
        .map(|_| tokio::spawn(ask(Arc::clone(&server), Arc::clone(&stop), Arc::clone(&answers), &[1, 2])))
        .collect();
    for index in 0..RELOADS {
        let before = answers.load(Ordering::Relaxed);
        let add = 1 + u8::from(index % 2 == 0);
        repository.put("m", 1, &format!("add={add} {run}"));
        server.load("m").await.unwrap();
        assert_eq!(server.adds("m", None).await, Ok(add), "the new one answers as soon as the load is");
        wait_until(
            "answers between the reloads",
            || answers.load(Ordering::Relaxed) > before + 16,
            || answers.load(Ordering::Relaxed),
        )
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    wait_until("the old ones to go", || server.backend.models() == 1, || server.backend.models()).await;
    assert_eq!(server.backend.instances(), 1);
    assert_eq!(server.backend.loads(), RELOADS + 1);
    // One series was counted over all of them: nothing was lost, and nothing failed.
    let metrics = server.metrics();
    let ok = answers.load(Ordering::Relaxed) + RELOADS;
    let line = format!("adulis_inference_requests_total{{model=\"m\",version=\"1\",outcome=\"ok\"}} {ok}\n");
    assert!(metrics.contains(&line), "{line} is not in {metrics}");
    assert!(!metrics.contains("outcome=\"unavailable\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_over_many_reloads() {
    reload_under_traffic(explicit(), "run=1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_over_many_reloads_where_requests_run_on_the_callers_thread() {
    let settings = Settings { inline_threshold: Duration::from_secs(1), ..explicit() };
    reload_under_traffic(settings, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_old_one_is_answered_by_it() {
    let repository = Repository::new();
    repository.configure("m", "max_batch_size = 1");
    repository.put("m", 1, "add=1 run=40");
    let server = Arc::new(Server::start(&repository, explicit()));
    server.load("m").await.unwrap();
    let waiting: Vec<_> = (0..6)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.adds("m", None).await })
        })
        .collect();
    let queued = || server.metrics().contains("adulis_queue_requests{model=\"m\",version=\"1\"} 5\n");
    wait_until("five that wait", queued, || server.metrics()).await;
    repository.put("m", 1, "add=2");
    server.load("m").await.unwrap();
    assert_eq!(server.adds("m", None).await, Ok(2));
    assert_eq!(server.backend.models(), 2, "the old one has work left");
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), Ok(1));
    }
    wait_until("the old one to go", || server.backend.models() == 1, || server.backend.models()).await;
}
