mod models;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use adulis_tensor::{DataType, ShapePattern};
use adulis_types::{
    BoxFuture, CacheOutcome, CacheStatus, ErrorKind, Failure, Fault, IndexEntry, IndexQuery, InferRequest,
    InferResponse, InferenceService, LoadModel, ModelConfigDocument, ModelMetadata, ModelRef,
    ModelStatistics, OutputTensor, Parameters, ResponseStream, Retry, ServerMetadata, StageTimings,
    TensorMetadata, UnloadModel, one_response,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// How many calls of [`ScriptedService::infer`](InferenceService::infer) began, ended, and were dropped before their end.
#[derive(Debug, Default)]
pub struct Calls {
    /// Begun.
    pub started: AtomicUsize,
    /// Answered, well or badly.
    pub finished: AtomicUsize,
    /// Dropped before their answer.
    pub cancelled: AtomicUsize,
}

impl Calls {
    /// Waits until `count` calls have begun.
    ///
    /// # Panics
    /// After five seconds.
    pub async fn wait_started(&self, count: usize) {
        wait_for(&self.started, count, "started").await;
    }

    /// Waits until `count` calls were dropped.
    ///
    /// # Panics
    /// After five seconds.
    pub async fn wait_cancelled(&self, count: usize) {
        wait_for(&self.cancelled, count, "cancelled").await;
    }
}

async fn wait_for(counter: &AtomicUsize, count: usize, what: &str) {
    for _ in 0..1000 {
        if counter.load(Ordering::SeqCst) >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        counter.load(Ordering::SeqCst) >= count,
        "waited for {count} calls {what}, saw {}",
        counter.load(Ordering::SeqCst)
    );
}

/// A service whose models do what their names say.
///
/// `echo` answers each input as the output of the same name; `cached` does, from a response cache, as it was 12 seconds ago;
/// `slow` never answers; `late` echoes after 100 ms; `held` echoes when [`ScriptedService::release`] lets it; `panic` panics;
/// `fail-<kind>`, as `fail-overloaded`, fails with that [`ErrorKind`], `overloaded` with a retry after 1.2 s; `loading` is not
/// ready. `each` answers once for every row of its first input, over streams only; `each-fails` fails after that. All other names
/// are unknown, and so is every version but 1.
///
/// Every model can be loaded and unloaded but `nobody` and `fail-<kind>`.
#[derive(Debug)]
pub struct ScriptedService {
    /// What happened so far.
    pub calls: Arc<Calls>,
    /// Whether the server says that it is not ready.
    pub unready: AtomicBool,
    /// The last request that came in, for tests of what a frontend puts into it.
    pub last: Mutex<Option<InferRequest>>,
    /// What was loaded so far.
    pub loads: Mutex<Vec<LoadModel>>,
    /// What was unloaded so far.
    pub unloads: Mutex<Vec<UnloadModel>>,
    /// Permits for `held`: each lets one call go on.
    pub release: Semaphore,
}

impl Default for ScriptedService {
    fn default() -> Self {
        Self {
            calls: Arc::default(),
            unready: AtomicBool::new(false),
            last: Mutex::new(None),
            loads: Mutex::default(),
            unloads: Mutex::default(),
            release: Semaphore::new(0),
        }
    }
}

impl ScriptedService {
    fn find(model: &ModelRef) -> Result<(), Fault> {
        let known = matches!(
            &*model.name,
            "echo" | "cached" | "slow" | "late" | "held" | "panic" | "loading" | "a name/with é"
        ) || model.name.starts_with("fail-")
            || matches!(&*model.name, "each" | "each-fails");
        if !known {
            return Err(Failure::new(
                ErrorKind::NotFound,
                format!("Request for unknown model: '{}' is not found", model.name),
            )
            .into());
        }
        match model.version {
            None | Some(1) => Ok(()),
            Some(version) => Err(Failure::new(
                ErrorKind::NotFound,
                format!("model '{}' has no version {version}", model.name),
            )
            .into()),
        }
    }
}

struct Running {
    calls: Arc<Calls>,
    done: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let counter = if self.done { &self.calls.finished } else { &self.calls.cancelled };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

impl InferenceService for ScriptedService {
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        // Not its trace: that ends when nobody holds it.
        *self.last.lock() = Some(InferRequest { trace: None, ..request.clone() });
        Box::pin(async move {
            let mut running = Running { calls: Arc::clone(&self.calls), done: false };
            self.calls.started.fetch_add(1, Ordering::SeqCst);
            if request.model.name == "held" {
                let permit = self.release.acquire().await.expect("invariant: never closed");
                permit.forget();
            }
            let answer = act(request).await;
            running.done = true;
            answer
        })
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        match stream::answers(&request) {
            Some(answers) => {
                *self.last.lock() = Some(InferRequest { trace: None, ..request });
                answers
            }
            None => one_response(self.infer(request)),
        }
    }

    fn decoupled(&self, model: &ModelRef) -> bool {
        model.name.starts_with("each")
    }

    fn batches(&self, model: &ModelRef) -> bool {
        matches!(&*model.name, "echo" | "held" | "each")
    }

    fn ready(&self) -> bool {
        !self.unready.load(Ordering::SeqCst)
    }

    fn model_ready(&self, model: &ModelRef) -> Result<bool, Fault> {
        Self::find(model)?;
        Ok(model.name != "loading")
    }

    fn server_metadata(&self) -> ServerMetadata {
        ServerMetadata {
            name: "scripted".into(),
            version: "0.0.1".into(),
            extensions: vec!["binary_tensor_data".into()],
        }
    }

    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault> {
        Self::find(model)?;
        let tensor = |name: &str| TensorMetadata {
            name: name.into(),
            datatype: DataType::Fp32,
            shape: ShapePattern::new(&[-1, 16]),
            optional: false,
        };
        Ok(ModelMetadata {
            name: model.name.as_str().into(),
            versions: vec![1],
            platform: "scripted".into(),
            inputs: vec![tensor("INPUT0")],
            outputs: vec![tensor("INPUT0")],
        })
    }

    fn model_config(&self, model: &ModelRef) -> Result<ModelConfigDocument, Fault> {
        Self::find(model)?;
        Ok(models::config(model))
    }

    fn statistics(&self, model: Option<&ModelRef>) -> Result<Vec<ModelStatistics>, Fault> {
        let Some(model) = model else {
            return Ok(["echo", "held"].map(models::statistics).into());
        };
        Self::find(model)?;
        Ok(vec![models::statistics(&model.name)])
    }

    fn repository_index(&self, query: &IndexQuery) -> Result<Vec<IndexEntry>, Fault> {
        Ok(models::index(query))
    }

    fn load_model(&self, request: LoadModel) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { self.loaded(request) })
    }

    fn unload_model(&self, request: UnloadModel) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { self.unloaded(request) })
    }
}

#[expect(clippy::panic, reason = "the model named `panic` is there to panic")]
async fn act(request: InferRequest) -> Result<InferResponse, Fault> {
    ScriptedService::find(&request.model)?;
    match &*request.model.name {
        "slow" => std::future::pending::<()>().await,
        "late" => tokio::time::sleep(Duration::from_millis(100)).await,
        "panic" => panic!("the model was asked to panic"),
        "each" | "each-fails" => return Err(failure("unsupported").into()),
        "loading" => return Err(Failure::new(ErrorKind::Unavailable, "model 'loading' is not ready").into()),
        name => {
            if let Some(kind) = name.strip_prefix("fail-") {
                return Err(failure(kind).into());
            }
        }
    }
    Ok(echo(request))
}

fn failure(kind: &str) -> Failure {
    let kind = ErrorKind::ALL
        .into_iter()
        .find(|candidate| candidate.as_str() == kind)
        .unwrap_or(ErrorKind::NotFound);
    let mut failure = Failure::new(kind, format!("asked to fail as {}", kind.as_str()));
    if kind == ErrorKind::Overloaded {
        failure.retry = Retry::After(Duration::from_millis(1200));
    }
    failure
}

fn echo(request: InferRequest) -> InferResponse {
    let hit = CacheOutcome { status: CacheStatus::Hit, age: Duration::from_secs(12) };
    InferResponse {
        cache: (request.model.name == "cached").then_some(hit),
        quota: None,
        model_name: request.model.name.as_str().into(),
        model_version: request.model.version.unwrap_or(1),
        id: request.id,
        parameters: Parameters::default(),
        outputs: request
            .inputs
            .into_iter()
            .map(|input| OutputTensor::new(input.name.as_str(), input.tensor))
            .collect(),
        timings: StageTimings::default(),
    }
}
