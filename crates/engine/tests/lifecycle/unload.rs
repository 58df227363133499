use super::*;

fn spawn(server: &Arc<Server>, byte: u8) -> tokio::task::JoinHandle<Result<u8, String>> {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let answer = server.infer("m", None, byte).await;
        answer
            .map(|answer| answer.outputs[0].tensor.data()[0])
            .map_err(|fault| fault.client_message().into())
    })
}

/// A model with one request that runs and one that waits.
async fn busy(
    unload_timeout: Duration,
) -> (Repository, Arc<Server>, [tokio::task::JoinHandle<Result<u8, String>>; 2]) {
    let repository = Repository::new();
    repository.configure("m", "max_batch_size = 1");
    repository.put("m", 1, "add=1 run=200");
    let server = Arc::new(Server::start(&repository, Settings { unload_timeout, ..explicit() }));
    server.load("m").await.unwrap();
    let runs = spawn(&server, 10);
    let executing = || server.metrics().contains("adulis_executing_batches{model=\"m\",version=\"1\"} 1\n");
    wait_until("one that runs", executing, || server.metrics()).await;
    let waits = spawn(&server, 20);
    let queued = || server.metrics().contains("adulis_queue_requests{model=\"m\",version=\"1\"} 1\n");
    wait_until("one that waits", queued, || server.metrics()).await;
    (repository, server, [runs, waits])
}

#[tokio::test(flavor = "multi_thread")]
async fn unloading_waits_until_everything_is_answered() {
    let (_repository, server, requests) = busy(Duration::from_secs(60)).await;
    let unloading = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.unload("m").await }
    });
    server.wait_for_index(&["m 1 UNLOADING"]).await;
    assert!(server.engine.ready());
    let gone = "Request for unknown model: 'm' has no available versions";
    assert_eq!(server.adds("m", None).await.unwrap_err(), gone);
    for (request, answer) in requests.into_iter().zip([11, 21]) {
        assert_eq!(request.await.unwrap(), Ok(answer));
    }
    unloading.await.unwrap().unwrap();
    assert_eq!(server.index(), ["m 1 UNAVAILABLE unloaded"]);
    assert_eq!((server.backend.models(), server.backend.instances()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_too_long_for_an_unload_is_refused_and_what_runs_is_not() {
    let (_repository, server, [runs, waits]) = busy(Duration::from_millis(20)).await;
    server.unload("m").await.unwrap();
    assert_eq!(
        waits.await.unwrap().unwrap_err(),
        "Request for unknown model: 'm' has no available versions"
    );
    assert_eq!(server.index(), ["m 1 UNLOADING"], "one request still runs");
    assert_eq!(runs.await.unwrap(), Ok(11));
    server.wait_for_index(&["m 1 UNAVAILABLE unloaded"]).await;
    assert_eq!(server.backend.models(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_can_come_back_while_it_is_being_unloaded() {
    let (repository, server, requests) = busy(Duration::from_secs(60)).await;
    let unloading = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.unload("m").await }
    });
    server.wait_for_index(&["m 1 UNLOADING"]).await;
    repository.put("m", 1, "add=2");
    server.load("m").await.unwrap();
    assert_eq!(server.adds("m", None).await, Ok(2));
    for request in requests {
        request.await.unwrap().unwrap();
    }
    unloading.await.unwrap().unwrap();
    assert_eq!(server.index(), ["m 1 READY"]);
    assert_eq!(server.adds("m", None).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_used_again_and_nobody_is_confused() {
    let repository = Repository::new();
    repository.configure("late", "dynamic_batching = { max_queue_delay = \"2ms\" }");
    repository.put("late", 1, "add=7");
    repository.put("m", 1, "add=1");
    let server = Arc::new(Server::start(&repository, explicit()));
    server.load("late").await.unwrap();
    for round in 0..60_u8 {
        // A model with a timer goes while another comes, and takes its key.
        let late: Vec<_> = (0..4).map(|_| server.adds("late", None)).collect();
        for answer in late {
            assert_eq!(answer.await, Ok(7));
        }
        let (gone, come) = tokio::join!(server.unload("late"), server.load("m"));
        gone.unwrap();
        come.unwrap();
        assert_eq!(server.adds("m", None).await, Ok(1), "round {round}");
        let (gone, come) = tokio::join!(server.unload("m"), server.load("late"));
        gone.unwrap();
        come.unwrap();
    }
    assert_eq!(server.backend.models(), 1);
}

#[tokio::test]
async fn metrics_of_a_model_go_with_it() {
    let repository = Repository::new();
    for model in ["m", "other"] {
        repository.put(model, 1, "add=1");
    }
    let server = Server::start(&repository, explicit());
    let labelled = || server.metrics().lines().filter(|line| line.contains("model=\"m\"")).count();
    let has = |line: &str| server.metrics().lines().any(|candidate| candidate == line);
    assert!(has("adulis_models{state=\"ready\"} 0"));
    for model in ["m", "other"] {
        server.load(model).await.unwrap();
        server.adds(model, None).await.unwrap();
    }
    server.infer("m", None, 255).await.unwrap_err();
    assert!(has("adulis_models{state=\"ready\"} 2"));
    assert!(has("adulis_model_ready{model=\"m\",version=\"1\"} 1"));
    assert!(has("adulis_model_loads_total{outcome=\"ok\"} 2"));
    assert!(labelled() > 20);
    server.unload("m").await.unwrap();
    assert!(has("adulis_models{state=\"ready\"} 1"));
    assert!(has("adulis_models{state=\"unavailable\"} 1"));
    assert!(has("adulis_model_unloads_total 1"));
    assert!(has("adulis_model_ready{model=\"m\",version=\"1\"} 0"));
    assert_eq!(labelled(), 1, "{}", server.metrics());
    server.load("m").await.unwrap();
    server.adds("m", None).await.unwrap();
    assert!(has("adulis_inference_requests_total{model=\"m\",version=\"1\",outcome=\"ok\"} 1"));
    repository.put("broken", 1, "?");
    server.load("broken").await.unwrap_err();
    assert!(has("adulis_model_loads_total{outcome=\"failed\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_dropped_in_the_middle_of_it_all() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1 run=200");
    repository.put("slow", 1, "add=1 load=100");
    let server = Server::start(&repository, explicit());
    server.load("m").await.unwrap();
    let loading = tokio::time::timeout(Duration::from_millis(10), server.load("slow")).await;
    assert!(loading.is_err());
    let waiting = tokio::time::timeout(Duration::from_millis(1), server.load("slow")).await;
    assert!(waiting.is_err());
    // Long enough for the run to have begun, whatever else the machine does.
    assert!(tokio::time::timeout(Duration::from_millis(50), server.adds("m", None)).await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(5), server.unload("m")).await.is_err());
    let backend = server.backend.clone();
    drop(server);
    assert_eq!((backend.models(), backend.instances()), (0, 0));
}
