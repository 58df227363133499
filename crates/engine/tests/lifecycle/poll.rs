use adulis_types::{Actor, AuditEvent, AuditLog};
use parking_lot::Mutex;

use super::*;

/// What the server has noted of itself.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl AuditLog for Notes {
    fn record(&self, event: &AuditEvent<'_>) {
        assert!(matches!(event.actor, Actor::Server), "{event:?}");
        let (operation, target, outcome) = (event.operation, event.target.unwrap(), event.outcome.as_str());
        self.0.lock().push(format!("{operation} {target} {outcome}"));
    }
}

fn polling() -> Settings {
    Settings { control: ControlMode::Poll(Duration::from_millis(50)), ..explicit() }
}

#[tokio::test]
async fn new_changed_and_removed_models_are_noticed() {
    let repository = Repository::new();
    repository.put("stays", 1, "add=1");
    repository.put("changes", 1, "add=1");
    repository.put("goes", 1, "add=1");
    let server = Server::start(&repository, polling());
    assert!(server.engine.ready());
    repository.put("new", 1, "add=5");
    repository.put("changes", 2, "add=2");
    repository.remove("goes");
    server
        .wait_for_index(&[
            "changes 1 UNAVAILABLE unloaded",
            "changes 2 READY",
            "new 1 READY",
            "stays 1 READY",
        ])
        .await;
    assert_eq!(server.adds("new", None).await, Ok(5));
    assert_eq!(server.adds("changes", None).await, Ok(2));
    assert_eq!(
        server.adds("goes", None).await.unwrap_err(),
        "Request for unknown model: 'goes' is not found"
    );
    assert_eq!(server.backend.loads(), 5, "what has not changed is not loaded again");
    wait_until("old models to go", || server.backend.models() == 3, || server.backend.models()).await;
    assert!(server.engine.ready());
}

#[tokio::test]
async fn what_files_have_changed_is_noted_and_what_was_there_at_the_start_is_not() {
    let repository = Repository::new();
    repository.put("goes", 1, "add=1");
    repository.put("stays", 1, "add=1");
    let notes = Arc::new(Notes::default());
    let _server = Server::start(&repository, Settings { audit: Some(Arc::clone(&notes) as _), ..polling() });
    repository.put("new", 1, "add=5");
    repository.put("broken", 1, "?");
    repository.remove("goes");
    let noted = || {
        let mut noted = notes.0.lock().clone();
        noted.sort();
        noted
    };
    wait_until("three changes to be noted", || noted().len() == 3, noted).await;
    assert_eq!(
        noted(),
        [
            "model_load broken failed",
            "model_load new done",
            "model_unload goes done"
        ]
    );
}

#[tokio::test]
async fn versions_that_have_not_changed_stay_as_they_are() {
    let repository = Repository::new();
    repository.configure("m", "version_policy = \"all\"");
    repository.put("m", 1, "add=1");
    repository.put("m", 2, "add=2");
    let server = Server::start(&repository, polling());
    server.adds("m", Some(1)).await.unwrap();
    repository.put("m", 3, "add=3");
    server.wait_for_index(&["m 1 READY", "m 2 READY", "m 3 READY"]).await;
    assert_eq!(server.backend.loads(), 3);
    let read = server.engine.statistics(Some(&ModelRef { name: "m".into(), version: Some(1) })).unwrap();
    assert_eq!(read[0].inference_count, 1, "it is the same one as before");
    repository.configure("m", "version_policy = \"all\"\nmax_batch_size = 2");
    wait_until("all to be loaded", || server.backend.loads() == 6, || server.backend.loads()).await;
}

#[tokio::test]
async fn a_corrupt_new_version_keeps_the_old_one_until_it_is_mended() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, polling());
    repository.put("m", 2, "?");
    let why = "cannot load model.onnx: the file is corrupt";
    server
        .wait_for_index(&[
            &format!("m 1 READY version 2: {why}"),
            &format!("m 2 UNAVAILABLE {why}"),
        ])
        .await;
    assert_eq!(server.adds("m", None).await, Ok(1));
    assert!(server.engine.ready());
    let loads = server.backend.loads();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(server.backend.loads(), loads, "what has not changed is not tried again");
    repository.put("m", 2, "add=2");
    server.wait_for_index(&["m 1 UNAVAILABLE unloaded", "m 2 READY"]).await;
    assert_eq!(server.adds("m", None).await, Ok(2));
}

#[tokio::test]
async fn a_model_that_is_being_copied_is_loaded_when_it_is_there() {
    let repository = Repository::new();
    let server = Server::start(&repository, polling());
    // A slow copy: the configuration, then the file in pieces, each of them later than a look at the repository.
    repository.configure("m", "max_batch_size = 2");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let folder = repository.path("m/1");
    fs::create_dir(&folder).unwrap();
    for part in ["add", "add=", "add=7"] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        fs::write(folder.join("model.onnx"), part).unwrap();
    }
    server.wait_for_index(&["m 1 READY"]).await;
    assert_eq!(server.adds("m", None).await, Ok(7));
    assert_eq!(server.backend.loads(), 1, "nothing was loaded by halves");
}

#[tokio::test]
async fn a_model_that_stopped_halfway_is_tried_again_when_it_goes_on() {
    let repository = Repository::new();
    let server = Server::start(&repository, polling());
    let folder = repository.path("m/1");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.onnx"), "add").unwrap();
    server
        .wait_for_index(&["m 1 UNAVAILABLE cannot load model.onnx: the file is corrupt"])
        .await;
    assert!(!server.engine.ready());
    fs::write(folder.join("model.onnx"), "add=7").unwrap();
    server.wait_for_index(&["m 1 READY"]).await;
    assert!(server.engine.ready());
}

#[tokio::test]
async fn a_repository_that_is_gone_for_a_while_takes_no_model_away() {
    let repository = Repository::new();
    repository.put("in/m", 1, "add=1");
    let repositories = Repositories::new(vec![repository.path("in")]);
    let scan = repositories.scan();
    let (backend, registry) = (Counting::default(), MetricRegistry::default());
    let settings = Settings { repositories, ..polling() };
    let engine = Engine::new(settings, vec![Arc::new(backend.clone())], &registry).unwrap();
    engine.start(&scan);
    let server = Server { engine, backend, registry };
    fs::rename(repository.path("in"), repository.path("out")).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.adds("m", None).await, Ok(1));
    fs::rename(repository.path("out"), repository.path("in")).unwrap();
    repository.remove("in/m");
    server.wait_for_index(&[]).await;
}
