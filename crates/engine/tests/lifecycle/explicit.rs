use adulis_types::ErrorKind;

use super::*;

#[tokio::test]
async fn models_are_loaded_and_unloaded_by_request() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    repository.put("other", 1, "add=9");
    let server = Server::start(&repository, explicit());
    assert_eq!(server.index(), ["m", "other"], "never loaded: only the names");
    assert!(server.engine.ready(), "nothing that should serve is missing");
    assert_eq!(server.adds("m", None).await.unwrap_err(), "Request for unknown model: 'm' is not found");

    server.load("m").await.unwrap();
    assert_eq!(server.index(), ["m 1 READY", "other"]);
    assert_eq!(server.adds("m", None).await, Ok(1));
    assert_eq!((server.backend.models(), server.backend.instances()), (1, 1));

    server.unload("m").await.unwrap();
    assert_eq!(server.index(), ["m 1 UNAVAILABLE unloaded", "other"]);
    assert_eq!((server.backend.models(), server.backend.instances()), (0, 0), "its memory is given back");
    assert!(server.engine.ready(), "what was unloaded on request is not missing");
    let gone = "Request for unknown model: 'm' has no available versions";
    assert_eq!(server.adds("m", None).await.unwrap_err(), gone);
    assert_eq!(server.adds("m", Some(1)).await.unwrap_err(), gone);
    assert!(!server.engine.model_ready(&ModelRef::latest("m")).unwrap());

    server.load("m").await.unwrap();
    assert_eq!(server.adds("m", None).await, Ok(1));
}

#[tokio::test]
async fn what_is_not_loaded_can_be_unloaded() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, explicit());
    for name in ["m", "nobody"] {
        server.unload(name).await.unwrap();
    }
    assert_eq!(server.index(), ["m"]);
}

#[tokio::test]
async fn the_models_that_are_named_are_loaded_at_start() {
    let repository = Repository::new();
    repository.put("a", 1, "add=1");
    repository.put("b", 1, "add=2");
    repository.put("broken", 1, "?");
    let named = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Settings { control: ControlMode::Explicit(StartModels::Named(names)), ..explicit() }
    };
    let server = Server::start(&repository, named(&["b"]));
    assert_eq!(server.index(), ["a", "b 1 READY", "broken"]);
    assert!(server.engine.ready());

    let server = Server::start(&repository, named(&["a", "nobody"]));
    let missing = "nobody UNAVAILABLE failed to poll from model repository";
    assert_eq!(server.index(), ["a 1 READY", "b", "broken", missing]);
    assert!(!server.engine.ready(), "a model that should serve is missing");

    let all = Settings { control: ControlMode::Explicit(StartModels::All), ..explicit() };
    let server = Server::start(&repository, all);
    let broken = "broken 1 UNAVAILABLE cannot load model.onnx: the file is corrupt";
    assert_eq!(server.index(), ["a 1 READY", "b 1 READY", broken]);
    assert!(!server.engine.ready());
    server.unload("broken").await.unwrap();
    assert!(server.engine.ready(), "a failed model that is unloaded is not missing any more");
}

#[tokio::test]
async fn a_load_that_fails_says_why() {
    let repository = Repository::new();
    repository.put("corrupt", 1, "?");
    repository.configure("wrong", "max_batch_sice = 4");
    repository.put("wrong", 1, "add=1");
    repository.configure("policy", "version_policy = { specific = [7] }");
    repository.put("policy", 1, "add=1");
    let server = Server::start(&repository, explicit());
    assert_eq!(
        server.load("nobody").await.unwrap_err(),
        "failed to load 'nobody', failed to poll from model repository"
    );
    let corrupt = "version 1: cannot load model.onnx: the file is corrupt";
    assert_eq!(server.load("corrupt").await.unwrap_err(), format!("failed to load 'corrupt', {corrupt}"));
    let wrong = server.load("wrong").await.unwrap_err();
    assert!(
        wrong.starts_with("failed to load 'wrong', ") && wrong.contains("max_batch_sice"),
        "{wrong}"
    );
    let root = repository.path("");
    assert!(!wrong.contains(root.to_str().unwrap()), "clients are told no paths: {wrong}");
    let policy = server.load("policy").await.unwrap_err();
    assert!(policy.contains("there is no version 7"), "{policy}");
    let index = server.index();
    assert_eq!(index[0], "corrupt 1 UNAVAILABLE cannot load model.onnx: the file is corrupt");
    assert!(
        index[1].starts_with("policy UNAVAILABLE ") && index[1].contains("no version 7"),
        "{index:?}"
    );
    assert!(
        index[2].starts_with("wrong UNAVAILABLE ") && index[2].contains("max_batch_sice"),
        "{index:?}"
    );
    assert!(!server.engine.ready(), "strict readiness");
    assert_eq!(
        server.adds("corrupt", None).await.unwrap_err(),
        "model 'corrupt' is not ready: failed to load: cannot load model.onnx: the file is corrupt"
    );
    let fault = server
        .engine
        .load_model(LoadModel { name: "nobody".into(), ..LoadModel::default() })
        .await;
    assert_eq!(fault.unwrap_err().kind(), ErrorKind::InvalidArgument);

    repository.put("corrupt", 1, "add=5");
    server.load("corrupt").await.unwrap();
    assert_eq!(server.adds("corrupt", None).await, Ok(5));
}

#[tokio::test]
async fn files_that_change_while_they_are_read_are_read_again() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, explicit());
    server.backend.replace_in_loads(&["add=22", "add=3"]);
    server.load("m").await.unwrap();
    assert_eq!(server.adds("m", None).await, Ok(3), "nothing of what was read before");
    assert_eq!((server.backend.loads(), server.backend.models()), (3, 1));

    // What was read never was a whole: what serves goes on.
    server.backend.replace_in_loads(&["add=44", "add=5", "add=66"]);
    let told = server.load("m").await.unwrap_err();
    assert!(
        told.contains("version 1: the model's files changed while they were read, 3 times in a row"),
        "{told}"
    );
    assert_eq!(server.adds("m", None).await, Ok(3));
    server.load("m").await.unwrap();
    assert_eq!(server.adds("m", None).await, Ok(66));
}

#[tokio::test]
async fn requests_do_not_decide_in_the_other_modes() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    for (control, text) in [
        (
            ControlMode::None,
            "explicit model load / unload is not allowed if all models are loaded at start",
        ),
        (
            ControlMode::Poll(Duration::from_secs(3600)),
            "explicit model load / unload is not allowed if polling is enabled",
        ),
    ] {
        let server = Server::start(&repository, Settings { control, ..explicit() });
        for refused in [server.load("m").await, server.unload("m").await] {
            let refused = refused.unwrap_err();
            assert!(refused.starts_with(text), "{refused}");
        }
        assert_eq!(server.adds("m", None).await, Ok(1));
    }
}

#[tokio::test]
async fn the_index_can_be_asked_for_ready_models_and_for_one_repository() {
    let (one, two) = (Repository::new(), Repository::new());
    one.put("a", 1, "add=1");
    one.put("idle", 1, "add=1");
    one.put("broken", 1, "?");
    two.put("b", 1, "add=2");
    let paths = vec![one.path(""), two.path("")];
    let settings = Settings { repositories: Repositories::new(paths), ..explicit() };
    let scan = settings.repositories.scan();
    let (backend, registry) = (Counting::default(), MetricRegistry::default());
    let engine = Engine::new(settings, vec![Arc::new(backend.clone())], &registry).unwrap();
    engine.start(&scan);
    let server = Server { engine, backend, registry };
    for name in ["a", "b"] {
        server.load(name).await.unwrap();
    }
    server.load("broken").await.unwrap_err();
    let query = |repository: &Repository, ready| IndexQuery {
        repository: repository.path("").to_str().unwrap().trim_end_matches('/').into(),
        ready,
        fresh: true,
    };
    assert_eq!(
        server.index_of(&IndexQuery { ready: true, ..IndexQuery::default() }),
        ["a 1 READY", "b 1 READY"]
    );
    let all = server.index_of(&query(&one, false));
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all[2], "idle");
    assert_eq!(server.index_of(&query(&one, true)), ["a 1 READY"]);
    assert_eq!(server.index_of(&query(&two, false)), ["b 1 READY"]);
}

#[tokio::test]
async fn a_name_in_two_repositories_names_both() {
    let (one, two) = (Repository::new(), Repository::new());
    one.put("m", 1, "add=1");
    two.put("m", 1, "add=2");
    let paths = vec![one.path(""), two.path("")];
    let settings = Settings { repositories: Repositories::new(paths), ..explicit() };
    let registry = MetricRegistry::default();
    let engine = Engine::new(settings, vec![Arc::new(Counting::default())], &registry).unwrap();
    let fault = engine
        .load_model(LoadModel { name: "m".into(), ..LoadModel::default() })
        .await
        .unwrap_err();
    let message = fault.client_message();
    for place in [one.path("m"), two.path("m")] {
        assert!(message.contains(place.to_str().unwrap()), "{message}");
    }
}

// One I/O thread: what blocks it blocks everything.
#[tokio::test]
async fn a_load_blocks_nobody() {
    let repository = Repository::new();
    repository.put("quick", 1, "add=1");
    repository.put("slow", 1, "add=2 load=250");
    let server = Server::start(&repository, explicit());
    server.load("quick").await.unwrap();
    let load = server.load("slow");
    tokio::pin!(load);
    let (mut answered, mut seen) = (0, false);
    loop {
        tokio::select! {
            biased;
            outcome = &mut load => break outcome.unwrap(),
            answer = server.adds("quick", None) => {
                assert_eq!(answer, Ok(1));
                answered += 1;
            }
        }
        if !seen && server.index() == ["quick 1 READY", "slow 1 LOADING"] {
            seen = true;
            assert!(server.engine.ready(), "a model that is loaded in addition is not missing yet");
            let reason = "model 'slow' is not ready: it is still loading";
            assert_eq!(server.adds("slow", None).await.unwrap_err(), reason);
        }
    }
    assert!(seen && answered > 1, "{answered} answers while the other model was loading");
    assert_eq!(server.adds("slow", None).await, Ok(2));
}

#[tokio::test]
async fn a_load_goes_on_without_its_caller() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1 load=100");
    let server = Server::start(&repository, explicit());
    let answered = tokio::select! {
        biased;
        _ = server.load("m") => true,
        () = std::future::ready(()) => false,
    };
    assert!(!answered, "asked once, and gone");
    server.wait_for_index(&["m 1 READY"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_are_bounded_and_those_of_one_model_take_turns() {
    let repository = Repository::new();
    for model in ["a", "b", "c"] {
        repository.put(model, 1, "add=1 load=20");
    }
    let server = Server::start(&repository, explicit());
    let loads = (0..4).flat_map(|_| ["a", "b", "c"]).map(|name| server.load(name));
    for outcome in join_all(loads).await {
        outcome.unwrap();
    }
    assert_eq!(server.backend.loads(), 12);
    assert_eq!(server.backend.most_loading(), 2, "load_threads");
    let one = (0..4).map(|_| server.load("a"));
    let before = Instant::now();
    for outcome in join_all(one).await {
        outcome.unwrap();
    }
    assert!(before.elapsed() >= Duration::from_millis(80), "one after the other");
    wait_until("old models to go", || server.backend.models() == 3, || server.backend.models()).await;
}

/// Polls all at once.
async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
