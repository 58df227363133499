use adulis_types::{ErrorKind, Identity, IdentityKind, ModelPatterns, Scopes};

use super::*;

/// An ensemble of models one after the other.
pub(super) fn chain(models: &[&str]) -> String {
    let mut text = "platform = \"ensemble\"\nmax_batch_size = 8\n".to_owned();
    text += "input = [{ name = \"IN\", data_type = \"TYPE_UINT8\", dims = [1] }]\n";
    let last = models.len() - 1;
    text += &format!("output = [{{ name = \"t{last}\", data_type = \"TYPE_UINT8\", dims = [1] }}]\n");
    for (index, model) in models.iter().enumerate() {
        let taken = if index == 0 { "IN".to_owned() } else { format!("t{}", index - 1) };
        let (input, output) = if model.starts_with("inner") { ("IN", "t1") } else { ("IN", "OUT") };
        text += &format!(
            "[[ensemble_scheduling.step]]\nmodel_name = \"{model}\"\ninput_map = {{ {input} = \"{taken}\" }}\n\
             output_map = {{ {output} = \"t{index}\" }}\n"
        );
    }
    text
}

/// The configuration of an ensemble of one model.
const BROUGHT: &str = r#"{"platform":"ensemble","max_batch_size":8,
    "input":[{"name":"IN","data_type":"TYPE_UINT8","dims":[1]}],
    "output":[{"name":"OUT","data_type":"TYPE_UINT8","dims":[1]}],
    "ensemble_scheduling":{"step":[{"model_name":"MODEL","model_version":-1,
        "input_map":{"IN":"IN"},"output_map":{"OUT":"OUT"}}]}}"#;

fn repository() -> Repository {
    let repository = Repository::new();
    repository.put("one", 1, "add=1");
    repository.put("two", 1, "add=2 load=50");
    repository.configure("e", &chain(&["one", "two"]));
    repository
}

fn all(control: ControlMode) -> Settings {
    Settings { control, ..explicit() }
}

#[tokio::test]
async fn at_start_an_ensemble_is_loaded_after_its_models() {
    let repository = repository();
    repository.configure("a", &chain(&["inner", "one"]));
    repository.configure("inner", &chain(&["two", "two"]));
    let server = Server::start(&repository, all(ControlMode::None));
    assert_eq!(
        server.index(),
        [
            "a 1 READY",
            "e 1 READY",
            "inner 1 READY",
            "one 1 READY",
            "two 1 READY"
        ]
    );
    assert!(server.engine.ready());
    assert_eq!(server.adds("e", None).await, Ok(3));
    assert_eq!(server.adds("a", None).await, Ok(5));
}

#[tokio::test]
async fn at_start_an_ensemble_whose_model_cannot_be_loaded_is_not_ready_and_says_why() {
    let repository = repository();
    repository.put("two", 1, "?");
    let server = Server::start(&repository, all(ControlMode::None));
    let why =
        "step[1]: model 'two' is not ready: failed to load: cannot load model.onnx: the file is corrupt";
    let index = server.index();
    assert_eq!(index[0], format!("e 1 UNAVAILABLE {why}"));
    assert!(!server.engine.ready());
    assert!(!server.engine.model_ready(&ModelRef::latest("e")).unwrap());
    assert_eq!(server.adds("e", None).await, Err(format!("model 'e' is not ready: {why}")));
    assert_eq!(server.adds("one", None).await, Ok(1));
    let states = server.metrics();
    assert!(states.contains("adulis_model_ready{model=\"e\",version=\"1\"} 0"), "{states}");
}

#[tokio::test]
async fn models_named_at_start_bring_those_they_are_made_of() {
    let repository = repository();
    repository.put("other", 1, "add=9");
    let control = ControlMode::Explicit(StartModels::Named(vec!["e".to_owned()]));
    let server = Server::start(&repository, all(control));
    assert_eq!(server.index(), ["e 1 READY", "one 1 READY", "other", "two 1 READY"]);
    server.unload("e").await.unwrap();
    assert_eq!(
        server.index(),
        [
            "e 1 UNAVAILABLE unloaded",
            "one 1 UNAVAILABLE unloaded",
            "other",
            "two 1 UNAVAILABLE unloaded"
        ]
    );
    assert_eq!(server.backend.models(), 0);
}

#[tokio::test]
async fn loading_an_ensemble_loads_its_models_that_are_not_loaded_or_have_changed() {
    let repository = repository();
    repository.configure("outer", &chain(&["inner", "one"]));
    repository.configure("inner", &chain(&["one", "two"]));
    let server = Server::start(&repository, explicit());
    server.load("one").await.unwrap();
    assert_eq!(server.backend.loads(), 1);
    server.load("outer").await.unwrap();
    assert_eq!(server.backend.loads(), 2, "the one that was loaded is left as it is");
    assert_eq!(server.adds("outer", None).await, Ok(4));
    assert_eq!(
        server.index(),
        [
            "e",
            "inner 1 READY",
            "one 1 READY",
            "outer 1 READY",
            "two 1 READY"
        ]
    );
    repository.put("two", 1, "add=20");
    server.load("outer").await.unwrap();
    assert_eq!(server.adds("outer", None).await, Ok(22));
    assert_eq!(server.backend.loads(), 3);
}

#[tokio::test]
async fn an_ensemble_with_a_single_loader_thread_loads_its_models_too() {
    let repository = repository();
    let server = Server::start(&repository, Settings { load_threads: 1, ..explicit() });
    server.load("e").await.unwrap();
    assert_eq!(server.adds("e", None).await, Ok(3));
}

#[tokio::test]
async fn an_ensemble_whose_models_cannot_be_loaded_becomes_ready_when_they_are() {
    let repository = repository();
    repository.put("two", 1, "?");
    let server = Server::start(&repository, explicit());
    let why =
        "step[1]: model 'two' is not ready: failed to load: cannot load model.onnx: the file is corrupt";
    assert_eq!(server.load("e").await, Err(format!("failed to load 'e', {why}")));
    assert_eq!(server.index()[0], format!("e 1 UNAVAILABLE {why}"));
    assert_eq!(server.adds("one", None).await, Ok(1));
    repository.remove("two");
    assert_eq!(server.load("e").await, Err(format!("failed to load 'e', {why}")));
    repository.put("two", 1, "add=7");
    server.load("two").await.unwrap();
    assert_eq!(server.index()[0], "e 1 READY");
    assert_eq!(server.adds("e", None).await, Ok(8));
    assert!(server.engine.ready());
}

#[tokio::test]
async fn an_ensemble_is_not_ready_while_a_model_of_it_is_unloaded() {
    let repository = repository();
    let server = Server::start(&repository, explicit());
    server.load("e").await.unwrap();
    server.unload_with("two", false).await.unwrap();
    let why = "step[1]: model 'two' is unloaded";
    assert_eq!(server.index()[0], format!("e 1 UNAVAILABLE {why}"));
    assert_eq!(server.adds("e", None).await, Err(format!("model 'e' is not ready: {why}")));
    assert!(!server.engine.model_ready(&ModelRef::latest("e")).unwrap());
    assert!(!server.engine.model_ready(&ModelRef { name: "e".into(), version: Some(1) }).unwrap());
    assert!(server.engine.model_metadata(&ModelRef::latest("e")).is_err());
    assert!(server.engine.ready(), "nothing is missing that somebody did not ask to be so");
    server.load("two").await.unwrap();
    assert_eq!(server.index()[0], "e 1 READY");
    assert_eq!(server.adds("e", None).await, Ok(3));
}

#[tokio::test]
async fn unloading_an_ensemble_leaves_its_models_unless_asked_otherwise() {
    let repository = repository();
    let server = Server::start(&repository, explicit());
    server.load("e").await.unwrap();
    server.unload_with("e", false).await.unwrap();
    assert_eq!(server.index(), ["e 1 UNAVAILABLE unloaded", "one 1 READY", "two 1 READY"]);
    server.load("e").await.unwrap();
    server.unload_with("e", true).await.unwrap();
    assert_eq!(server.backend.models(), 0, "gone when the call is answered");
    assert_eq!(
        server.index(),
        [
            "e 1 UNAVAILABLE unloaded",
            "one 1 UNAVAILABLE unloaded",
            "two 1 UNAVAILABLE unloaded"
        ]
    );
}

#[tokio::test]
async fn models_that_somebody_else_wants_stay_when_an_ensemble_goes() {
    let repository = repository();
    repository.put("three", 1, "add=3");
    repository.configure("outer", &chain(&["inner", "three"]));
    repository.configure("inner", &chain(&["one", "two"]));
    let server = Server::start(&repository, explicit());
    server.load("one").await.unwrap();
    server.load("outer").await.unwrap();
    server.load("e").await.unwrap();
    server.unload("outer").await.unwrap();
    let left = ["e 1 READY", "inner 1 UNAVAILABLE unloaded", "one 1 READY"];
    assert_eq!(server.index()[..3], left);
    let rest = [
        "outer 1 UNAVAILABLE unloaded",
        "three 1 UNAVAILABLE unloaded",
        "two 1 READY",
    ];
    assert_eq!(server.index()[3..], rest, "the other ensemble is made of two");
    assert_eq!(server.adds("e", None).await, Ok(3));
    server.unload("e").await.unwrap();
    assert_eq!(server.backend.models(), 1, "one was loaded for itself");
    assert_eq!(server.adds("one", None).await, Ok(1));
}

#[tokio::test]
async fn a_reload_of_an_ensemble_that_does_not_fit_keeps_the_old_one() {
    let repository = repository();
    let server = Server::start(&repository, explicit());
    server.load("e").await.unwrap();
    repository.configure("e", &chain(&["one", "nine"]));
    let why = "version 1: step[1]: model 'nine' is not there";
    assert_eq!(server.load("e").await, Err(format!("failed to load 'e', {why}")));
    assert_eq!(server.index()[0], format!("e 1 READY {why}"));
    assert_eq!(server.adds("e", None).await, Ok(3));
    repository.configure("e", &chain(&["two", "two"]));
    server.load("e").await.unwrap();
    assert_eq!(server.adds("e", None).await, Ok(4));
    assert_eq!(server.index()[0], "e 1 READY");
}

#[tokio::test]
async fn an_ensemble_that_came_with_a_request_and_does_not_fit_is_forgotten() {
    let repository = repository();
    let server = Server::start(&repository, explicit());
    let load = |model: &str| LoadModel {
        name: "new".into(),
        config: Some(BROUGHT.replace("MODEL", model).into()),
        files: vec![("1/note.txt".into(), Bytes::from_static(b"an ensemble has no model file"))],
        identity: None,
    };
    let why = "failed to load 'new', step[0]: model 'nine' is not there";
    assert_eq!(server.load_with(load("nine")).await, Err(why.to_owned()));
    server.wait_for_index(&["e", "one", "two"]).await;
    server.load_with(load("one")).await.unwrap();
    assert_eq!(server.adds("new", None).await, Ok(1));
    assert_eq!(server.index(), ["e", "new 1 READY", "one 1 READY", "two"]);
}

#[tokio::test]
async fn who_may_use_some_models_has_no_others_loaded_by_an_ensemble() {
    let repository = repository();
    repository.configure("outer", &chain(&["one", "inner"]));
    repository.configure("inner", &chain(&["two", "two"]));
    let server = Server::start(&repository, explicit());
    let load = async |models: &[&str], request: LoadModel| {
        let identity = Identity {
            models: ModelPatterns::new(models.iter().copied()),
            ..Identity::new("key_1", IdentityKind::ApiKey, Scopes::NONE)
        };
        let request = LoadModel { identity: Some(Arc::new(identity)), ..request };
        let outcome = server.engine.load_model(request).await;
        outcome.map_err(|fault| (fault.kind(), fault.client_message().into_owned()))
    };
    let named = |name: &str| LoadModel { name: name.into(), ..LoadModel::default() };
    let refused = |model: &str| {
        let why = format!(
            "failed to load '{model}', 'key_1' may not use its step 'two': ask as somebody whose models include that one"
        );
        Err((ErrorKind::PermissionDenied, why))
    };
    assert_eq!(load(&["e", "one"], named("e")).await, refused("e"));
    assert_eq!(server.backend.loads(), 0);
    // What the ensemble is made of may be one itself.
    assert_eq!(load(&["outer", "inner", "one"], named("outer")).await, refused("outer"));
    let brought = LoadModel { config: Some(BROUGHT.replace("MODEL", "two").into()), ..named("e") };
    assert_eq!(load(&["e", "one"], brought.clone()).await, refused("e"));
    assert_eq!(
        server.adds("two", None).await,
        Err("Request for unknown model: 'two' is not found".to_owned())
    );
    load(&["e", "t*"], brought).await.unwrap();
    assert_eq!(server.adds("e", None).await, Ok(2));
    load(&["outer", "inner", "one", "two"], named("outer")).await.unwrap();
    assert_eq!(server.adds("outer", None).await, Ok(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_of_an_ensemble_is_lost_while_a_step_is_loaded_again() {
    let repository = repository();
    repository.put("two", 1, "add=2 run=1");
    let server = Arc::new(Server::start(&repository, explicit()));
    server.load("e").await.unwrap();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let mut answers = 0;
                loop {
                    match server.adds("e", None).await.unwrap() {
                        101 => break answers,
                        3 | 4 => answers += 1,
                        other => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for reload in 0..20_u8 {
        repository.put("two", 1, &format!("add={} run=1", 2 + (reload + 1) % 2));
        server.load("two").await.unwrap();
        assert_eq!(server.adds("e", None).await, Ok(3 + (reload + 1) % 2), "seen by the next request");
    }
    repository.put("two", 1, "add=100 run=1");
    server.load("two").await.unwrap();
    for caller in callers {
        assert!(caller.await.unwrap() > 10);
    }
    wait_until("the old ones to go", || server.backend.models() == 2, || server.backend.models()).await;
}

#[tokio::test]
async fn other_files_of_a_step_are_seen_by_an_ensemble_that_remembers_its_answers() {
    let repository = repository();
    repository.configure("e", &format!("{}[response_cache]\nenable = true\n", chain(&["one", "two"])));
    let server = Server::start(&repository, explicit());
    server.load("e").await.unwrap();
    let status = async || server.infer("e", None, 0).await.unwrap().cache.unwrap().status.as_str();
    let mut seen = Vec::new();
    for add in [2, 5, 2] {
        repository.put("two", 1, &format!("add={add}"));
        server.load("two").await.unwrap();
        seen.push((status().await, server.adds("e", None).await, status().await));
    }
    let (one, other) = (Ok(3), Ok(6));
    assert_eq!(
        seen,
        [
            ("miss", one.clone(), "hit"),
            ("miss", other, "hit"),
            ("hit", one, "hit")
        ]
    );
}

#[tokio::test]
async fn a_watched_ensemble_that_came_before_its_model_is_loaded_when_that_has_come() {
    let repository = repository();
    let server = Server::start(&repository, all(ControlMode::Poll(Duration::from_millis(50))));
    repository.configure("e", &chain(&["one", "three"]));
    let why = "e 1 READY version 1: step[1]: model 'three' is not there";
    server.wait_for_index(&[why, "one 1 READY", "two 1 READY"]).await;
    assert_eq!(server.adds("e", None).await, Ok(3), "the old one goes on");
    // Another change of the table leaves it as it is.
    repository.put("other", 1, "add=9");
    server.wait_for_index(&[why, "one 1 READY", "other 1 READY", "two 1 READY"]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.index()[0], why);
    repository.put("three", 1, "add=30");
    let all = [
        "e 1 READY",
        "one 1 READY",
        "other 1 READY",
        "three 1 READY",
        "two 1 READY",
    ];
    server.wait_for_index(&all).await;
    assert_eq!(server.adds("e", None).await, Ok(31));
}

#[tokio::test]
async fn a_watched_repository_loads_ensembles_after_their_models_and_sees_either_change() {
    let repository = Repository::new();
    repository.put("other", 1, "add=1");
    let server = Server::start(&repository, all(ControlMode::Poll(Duration::from_millis(50))));
    repository.configure("e", &chain(&["one", "two"]));
    repository.put("one", 1, "add=1");
    repository.put("two", 1, "add=2 load=200");
    server.wait_for_index(&["e 1 READY", "one 1 READY", "other 1 READY", "two 1 READY"]).await;
    assert_eq!(server.adds("e", None).await, Ok(3));
    // Most often one look sees both, and the ensemble has to wait for its model: without it, it would be given up. Where a look
    // comes between the two, it sees the model first.
    repository.put("three", 1, "add=3 load=200");
    repository.configure("e", &chain(&["one", "three"]));
    let started = Instant::now();
    while server.adds("e", None).await != Ok(4) {
        assert!(started.elapsed() < PATIENCE, "{:?}", server.index());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        server.index(),
        [
            "e 1 READY",
            "one 1 READY",
            "other 1 READY",
            "three 1 READY",
            "two 1 READY"
        ]
    );
    repository.remove("three");
    let gone = "e 1 UNAVAILABLE step[1]: model 'three' is not there";
    server.wait_for_index(&[gone, "one 1 READY", "other 1 READY", "two 1 READY"]).await;
    assert!(!server.engine.ready());
}
