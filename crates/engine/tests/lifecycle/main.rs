//! The life of models in the engine: loading, loading again under traffic, unloading, watching repositories, statistics;
//! with a backend that counts what it has, and without a network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backend;
mod ensembles;
mod explicit;
mod overrides;
mod poll;
mod reload;
mod remote;
mod statistics;
#[path = "../support/mod.rs"]
mod support;
mod unload;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_engine::{ControlMode, Engine, Settings, StartModels};
use adulis_repository::Repositories;
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_types::{
    Fault, IndexEntry, IndexQuery, InferRequest, InferResponse, InferenceService, LoadModel, ModelRef,
    UnloadModel,
};
use bytes::Bytes;

use backend::Counting;
use support::byte_request;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A repository in a scratch folder.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// A version of a model of the counting backend: what its file says is what it does. It appears as a whole, as with
    /// every tool that copies to another name first.
    fn put(&self, model: &str, version: u64, says: &str) {
        let folder = self.path(model).join(version.to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".part"), says).unwrap();
        fs::rename(folder.join(".part"), folder.join("model.onnx")).unwrap();
    }

    fn configure(&self, model: &str, toml: &str) {
        fs::create_dir_all(self.path(model)).unwrap();
        fs::write(self.path(model).join("model.toml"), toml).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.path(path)).unwrap();
    }
}

struct Server {
    engine: Arc<Engine>,
    backend: Counting,
    registry: MetricRegistry,
}

/// By request, none at start, everything through the queue.
fn explicit() -> Settings {
    Settings {
        control: ControlMode::Explicit(StartModels::Named(Vec::new())),
        inline_threshold: Duration::ZERO,
        execution_threads: 2,
        load_threads: 2,
        backend_order: vec!["counting".to_owned()],
        ..Settings::default()
    }
}

impl Server {
    fn start(repository: &Repository, settings: Settings) -> Self {
        let repositories = Repositories::new(vec![repository.path("")]);
        let scan = repositories.scan();
        assert!(scan.problems.is_empty(), "{:?}", scan.problems);
        let (backend, registry) = (Counting::default(), MetricRegistry::default());
        let settings = Settings { repositories, ..settings };
        let engine = Engine::new(settings, vec![Arc::new(backend.clone())], &registry).unwrap();
        assert!(!engine.ready(), "before it has started");
        engine.start(&scan);
        Self { engine, backend, registry }
    }

    async fn load(&self, name: &str) -> Result<(), String> {
        self.load_with(LoadModel { name: name.into(), ..LoadModel::default() }).await
    }

    async fn load_with(&self, request: LoadModel) -> Result<(), String> {
        self.engine.load_model(request).await.map_err(|fault| fault.client_message().into_owned())
    }

    async fn unload(&self, name: &str) -> Result<(), String> {
        self.unload_with(name, true).await
    }

    async fn unload_with(&self, name: &str, unload_dependents: bool) -> Result<(), String> {
        let request = UnloadModel { name: name.into(), unload_dependents };
        self.engine
            .unload_model(request)
            .await
            .map_err(|fault| fault.client_message().into_owned())
    }

    async fn infer(&self, model: &str, version: Option<u64>, byte: u8) -> Result<InferResponse, Fault> {
        self.engine.infer(request(model, version, &[byte])).await
    }

    /// What a model adds to its input.
    async fn adds(&self, model: &str, version: Option<u64>) -> Result<u8, String> {
        let answer = self.infer(model, version, 0).await;
        answer
            .map(|answer| answer.outputs[0].tensor.data()[0])
            .map_err(|fault| fault.client_message().into())
    }

    /// The index, a line for each entry: `name version STATE reason`.
    fn index(&self) -> Vec<String> {
        self.index_of(&IndexQuery::default())
    }

    fn index_of(&self, query: &IndexQuery) -> Vec<String> {
        self.engine.repository_index(query).unwrap().iter().map(told).collect()
    }

    async fn wait_for_index(&self, expected: &[&str]) {
        wait_until(&format!("{expected:?} in the index"), || self.index() == expected, || self.index()).await;
    }

    fn metrics(&self) -> String {
        self.registry.render(MetricsFormat::OpenMetrics)
    }
}

fn told(entry: &IndexEntry) -> String {
    let mut line = entry.name.to_string();
    let state = entry.state.map(|state| state.to_string());
    let version = entry.version.map(|version| version.to_string());
    for part in [version, state, Some(entry.reason.to_string())].into_iter().flatten() {
        if !part.is_empty() {
            line = format!("{line} {part}");
        }
    }
    line
}

fn request(model: &str, version: Option<u64>, rows: &[u8]) -> InferRequest {
    byte_request(ModelRef { name: model.into(), version }, rows)
}

async fn wait_until<T: std::fmt::Debug>(what: &str, is_so: impl Fn() -> bool, see: impl Fn() -> T) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited for {what}, saw {:?}", see());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
