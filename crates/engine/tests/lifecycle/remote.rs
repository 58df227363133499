//! A repository that lies elsewhere: whose part of its mirror changes when.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use adulis_repository::{Mirrored, Problem, RemoteRepository};

use super::*;

/// A "remote" repository that is a folder, mirrored into another by copying. It notes what is mirrored while the backend loads
/// it.
#[derive(Debug)]
struct Elsewhere {
    origin: tempfile::TempDir,
    mirror: tempfile::TempDir,
    backend: Counting,
    mirrored: Mutex<Vec<String>>,
    torn: Mutex<Vec<String>>,
}

impl Elsewhere {
    fn new(backend: &Counting) -> Arc<Self> {
        Arc::new(Self {
            origin: tempfile::tempdir().unwrap(),
            mirror: tempfile::tempdir().unwrap(),
            backend: backend.clone(),
            mirrored: Mutex::default(),
            torn: Mutex::default(),
        })
    }

    fn put(&self, model: &str, file: &str, text: &str) {
        let file = self.origin.path().join(model).join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.origin.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if fs::read(&target).ok() != fs::read(entry.path()).ok() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl RemoteRepository for Elsewhere {
    fn url(&self) -> &'static str {
        "elsewhere://models"
    }

    fn folder(&self) -> &Path {
        self.mirror.path()
    }

    fn list(&self) -> Result<BTreeSet<String>, Problem> {
        Ok(self.names())
    }

    fn known(&self) -> BTreeSet<String> {
        self.names()
    }

    fn mirror(&self, models: Mirrored<'_>) -> Result<Vec<Problem>, Problem> {
        for name in self.names().into_iter().filter(|name| models.wants(name)) {
            if self.backend.is_loading(&name) {
                self.torn.lock().unwrap().push(name.clone());
            }
            copy(&self.origin.path().join(&name), &self.mirror.path().join(&name));
            self.mirrored.lock().unwrap().push(name);
        }
        Ok(Vec::new())
    }

    fn close(&self) {}
}

fn start(elsewhere: &Arc<Elsewhere>, settings: Settings) -> Server {
    let server = not_started(elsewhere, settings);
    server.engine.start(&adulis_repository::Scan::default());
    server
}

fn not_started(elsewhere: &Arc<Elsewhere>, settings: Settings) -> Server {
    let mut repositories = Repositories::default();
    repositories.add_remote(Arc::clone(elsewhere) as _);
    let backend = elsewhere.backend.clone();
    let registry = MetricRegistry::default();
    let settings = Settings { repositories, ..settings };
    let engine = Engine::new(settings, vec![Arc::new(backend.clone())], &registry).unwrap();
    Server { engine, backend, registry }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_part_of_a_mirror_stays_as_it_is_while_the_model_is_loaded() {
    let elsewhere = Elsewhere::new(&Counting::default());
    elsewhere.put("slow", "1/model.onnx", "add=1 load=250");
    elsewhere.put("other", "1/model.onnx", "add=2");
    elsewhere.put("e", "model.toml", &ensembles::chain(&["inner", "slow"]));
    elsewhere.put("inner", "model.toml", &ensembles::chain(&["slow", "other"]));
    let server = Arc::new(start(&elsewhere, Settings { load_threads: 4, ..explicit() }));
    let by_itself = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.load("slow").await }
    });
    let backend = &elsewhere.backend;
    wait_until("slow to be loaded", || backend.is_loading("slow"), || backend.loads()).await;
    server.load("e").await.unwrap();
    by_itself.await.unwrap().unwrap();
    assert_eq!(server.adds("e", None).await, Ok(4));
    assert_eq!(*elsewhere.torn.lock().unwrap(), [""; 0], "changed while they were loaded");
    let mut mirrored = elsewhere.mirrored.lock().unwrap().clone();
    mirrored.sort();
    assert_eq!(mirrored, ["e", "inner", "other", "slow", "slow"], "once for each load");
    assert_eq!(backend.loads(), 2, "what was loaded a moment ago is not loaded again");
}

#[tokio::test(flavor = "multi_thread")]
async fn circles_that_are_loaded_at_the_same_time_do_not_wait_for_each_other() {
    let elsewhere = Elsewhere::new(&Counting::default());
    elsewhere.put("inner_a", "model.toml", &ensembles::chain(&["inner_b", "inner_b"]));
    elsewhere.put("inner_b", "model.toml", &ensembles::chain(&["inner_a", "inner_a"]));
    for load_threads in [1, 4] {
        let server = start(&elsewhere, Settings { load_threads, ..explicit() });
        let loads = async { tokio::join!(server.load("inner_a"), server.load("inner_b")) };
        let (a, b) = tokio::time::timeout(PATIENCE, loads).await.unwrap();
        for refusal in [a.unwrap_err(), b.unwrap_err()] {
            assert!(refusal.contains("ensembles wait for each other"), "{refusal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_while_everything_is_mirrored_at_the_start() {
    let elsewhere = Elsewhere::new(&Counting::default());
    elsewhere.put("slow", "1/model.onnx", "add=1 load=250");
    let control = ControlMode::Explicit(StartModels::All);
    let server = Arc::new(not_started(&elsewhere, Settings { control, ..explicit() }));
    let asked = [true, false].map(|load| {
        let server = Arc::clone(&server);
        tokio::spawn(
            async move { if load { server.load("slow").await } else { server.unload("other").await } },
        )
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let scan = server.engine.scan();
    assert_eq!(*elsewhere.torn.lock().unwrap(), [""; 0], "changed while it was loaded");
    assert_eq!(elsewhere.backend.loads(), 0);
    server.engine.start(&scan);
    for answered in asked {
        answered.await.unwrap().unwrap();
    }
    assert_eq!(elsewhere.backend.loads(), 2, "first what it starts with, then what was asked for");
    assert_eq!(server.adds("slow", None).await, Ok(1));
}
