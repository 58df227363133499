//! Sequences through the engine, with the built-in backends and one that fails and grows as it is told: slots, control
//! inputs, states, order, faults, and what happens to callers that go away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "ids are small numbers here")]

mod backend;
mod controls;
mod faults;
mod owners;
mod simulation;
mod slots;
mod states;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adulis_backend::{Backend, built_in};
use adulis_engine::{Engine, Settings};
use adulis_repository::{
    ControlKind, FalseTrue, ModelConfig, ModelEntry, ModelVersion, Scheduling, SequenceBatching,
    SequenceControl, SequenceStrategy, TensorConfig,
};
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{
    Fault, InferRequest, InferResponse, InferenceService, InputTensor, ModelRef, Sequence, SequenceId,
};

/// A request that begins its sequence, one in its midst, one that ends it, and one that is all of it.
const START: (bool, bool) = (true, false);
const MIDDLE: (bool, bool) = (false, false);
const END: (bool, bool) = (false, true);
const WHOLE: (bool, bool) = (true, true);

struct Server {
    engine: Arc<Engine>,
    registry: MetricRegistry,
}

impl Server {
    fn start(entries: &[ModelEntry]) -> Self {
        let mut backends = built_in();
        backends.push(Arc::new(backend::Scripted));
        Self::with(backends, entries)
    }

    fn with(backends: Vec<Arc<dyn Backend>>, entries: &[ModelEntry]) -> Self {
        let registry = MetricRegistry::default();
        let settings = Settings { execution_threads: 2, ..Settings::default() };
        let engine = Engine::new(settings, backends, &registry).unwrap();
        engine.load(entries);
        assert!(engine.ready(), "{:?}", engine.repository_index(&adulis_types::IndexQuery::default()));
        Self { engine, registry }
    }

    fn metric(&self, line: &str) -> f64 {
        let text = self.registry.render(MetricsFormat::OpenMetrics);
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{line} is not in\n{text}")).parse().unwrap()
    }

    fn active(&self) -> f64 {
        self.metric("adulis_sequences_active{model=\"m\",version=\"1\"}")
    }

    /// Asks model `m` and gives the answer's first number.
    async fn ask(&self, id: impl Into<Id>, flags: (bool, bool), value: i32) -> Result<i32, Fault> {
        self.engine.infer(request(id, flags, value)).await.map(|response| number(&response))
    }

    /// Asks in a task of its own, which has queued its request when this returns: with one I/O thread only.
    async fn spawn(&self, id: impl Into<Id>, flags: (bool, bool), value: i32) -> Asked {
        let engine = Arc::clone(&self.engine);
        let request = request(id, flags, value);
        let task = tokio::spawn(async move { engine.infer(request).await.map(|response| number(&response)) });
        tokio::task::yield_now().await;
        task
    }
}

type Asked = tokio::task::JoinHandle<Result<i32, Fault>>;

/// A correlation id, of either kind.
struct Id(SequenceId);

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(SequenceId::Number(number))
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self(SequenceId::Text(text.into()))
    }
}

fn request(id: impl Into<Id>, (start, end): (bool, bool), value: i32) -> InferRequest {
    let mut request = plain(1, value);
    request.sequence = Some(Sequence { id: id.into().0, start, end });
    request
}

/// A request of no sequence.
fn plain(rows: usize, value: i32) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest("m"));
    let data: Vec<u8> = value.to_le_bytes().repeat(rows);
    let tensor = Tensor::new(DataType::Int32, Shape::from([rows, 1]), data.into()).unwrap();
    request.inputs.push(InputTensor { name: "INPUT".into(), tensor });
    request
}

fn number(response: &InferResponse) -> i32 {
    i32::from_le_bytes(*response.outputs[0].tensor.data().first_chunk().unwrap())
}

fn message(answer: Result<i32, Fault>) -> String {
    answer.unwrap_err().client_message().to_string()
}

fn control(name: &str, kind: ControlKind) -> SequenceControl {
    SequenceControl { name: name.to_owned(), kind }
}

fn start() -> SequenceControl {
    control("START", ControlKind::Start(FalseTrue::Int32([0, 1])))
}

fn ready() -> SequenceControl {
    control("READY", ControlKind::Ready(FalseTrue::Int32([0, 1])))
}

fn end() -> SequenceControl {
    control("END", ControlKind::End(FalseTrue::Int32([0, 1])))
}

fn id_as(datatype: DataType) -> SequenceControl {
    control("CORRID", ControlKind::CorrelationId(datatype))
}

/// `m`: the built-in running sum, four rows, direct.
fn direct() -> ModelEntry {
    entry(SequenceBatching {
        control_inputs: vec![start(), ready()],
        max_sequence_idle: Duration::from_secs(60),
        ..SequenceBatching::default()
    })
}

/// `m`: the built-in running sum, told the id, of so many sequences at once.
fn oldest(max_candidate_sequences: usize) -> ModelEntry {
    entry(SequenceBatching {
        strategy: SequenceStrategy::Oldest {
            max_candidate_sequences,
            preferred_batch_size: vec![],
            max_queue_delay: Duration::ZERO,
            preserve_ordering: false,
        },
        control_inputs: vec![start(), ready(), end(), id_as(DataType::Uint64)],
        max_sequence_idle: Duration::from_secs(60),
        ..SequenceBatching::default()
    })
}

fn entry(batching: SequenceBatching) -> ModelEntry {
    let tensor = |name: &str| TensorConfig::new(name, DataType::Int32, [1]);
    let config = ModelConfig {
        backend: Some("sequence".to_owned()),
        max_batch_size: Some(4),
        inputs: vec![tensor("INPUT")],
        outputs: vec![tensor("OUTPUT")],
        scheduling: Scheduling::Sequence(batching),
        ..ModelConfig::derived("m")
    };
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    ModelEntry { name: "m".to_owned(), config, versions, directory: None }
}

fn batching(entry: &mut ModelEntry) -> &mut SequenceBatching {
    match &mut entry.config.scheduling {
        Scheduling::Sequence(batching) => batching,
        other => panic!("{other:?}"),
    }
}

fn with_parameters(mut entry: ModelEntry, parameters: &[(&str, &str)]) -> ModelEntry {
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    entry.config.parameters = parameters;
    entry
}
