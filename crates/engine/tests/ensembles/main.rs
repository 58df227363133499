//! Ensembles in the engine: what runs when, what is handed down, what fits together; with a backend that adds, and without a
//! network or a repository.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backend;
mod cached;
mod cancelling;
mod counting;
mod decoupled;
mod fitting;
mod flow;
mod nesting;
mod random;
mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adulis_backend::BuiltIn;
use adulis_engine::{Engine, Settings};
use adulis_repository::{
    Ensemble, EnsembleStep, InstanceGroup, ModelConfig, ModelEntry, ModelVersion, Scheduling, TensorConfig,
};
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{
    Fault, IndexQuery, InferRequest, InferResponse, InferenceService, InputTensor, ModelRef, RequestedOutput,
};
use bytes::Bytes;

use backend::Adding;
use counting::Counting;

struct Server {
    engine: Arc<Engine>,
    backend: Adding,
    counting: Counting,
    registry: MetricRegistry,
}

impl Server {
    /// Everything goes through the queue.
    fn start(entries: &[ModelEntry]) -> Self {
        Self::start_with(Settings { inline_threshold: Duration::ZERO, ..Settings::default() }, entries)
    }

    fn start_with(settings: Settings, entries: &[ModelEntry]) -> Self {
        let (backend, registry) = (Adding::default(), MetricRegistry::default());
        let counting = Counting::default();
        let settings = Settings { execution_threads: 4, ..settings };
        let backends = vec![
            Arc::new(backend.clone()) as _,
            Arc::new(counting.clone()) as _,
            Arc::new(BuiltIn) as _,
        ];
        let engine = Engine::new(settings, backends, &registry).unwrap();
        engine.load(entries);
        Self { engine, backend, counting, registry }
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        self.engine.infer(request).await
    }

    /// The bytes of every output, or what the client is told.
    async fn ask(&self, request: InferRequest) -> Result<Vec<Vec<u8>>, String> {
        match self.infer(request).await {
            Ok(response) => Ok(response.outputs.iter().map(|output| output.tensor.data().to_vec()).collect()),
            Err(fault) => Err(fault.client_message().into_owned()),
        }
    }

    /// Why a model is not ready, as the index tells.
    fn reason(&self, model: &str) -> String {
        let index = self.engine.repository_index(&IndexQuery::default()).unwrap();
        let line = index.iter().find(|line| &*line.name == model).unwrap();
        format!("{} {}", line.state.unwrap(), line.reason)
    }

    fn metric(&self, line: &str) -> Option<f64> {
        let text = self.registry.render(MetricsFormat::default());
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
        found.map(|value| value.parse().unwrap())
    }

    fn outcomes(&self, model: &str, outcome: &str) -> f64 {
        let labels = format!("model=\"{model}\",version=\"1\",outcome=\"{outcome}\"");
        self.metric(&format!("adulis_inference_requests_total{{{labels}}}")).unwrap_or(0.0)
    }
}

/// A tensor of bytes that is declared as `name` or `name:dims`, such as `a:2,-1`; `[1]` without dims.
fn tensor(declared: &str) -> TensorConfig {
    let (name, dims) = declared.split_once(':').unwrap_or((declared, "1"));
    let dims: Vec<i64> =
        dims.split(',').filter(|dim| !dim.is_empty()).map(|dim| dim.parse().unwrap()).collect();
    TensorConfig::new(name, DataType::Uint8, dims)
}

fn entry(config: ModelConfig) -> ModelEntry {
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    ModelEntry { name: config.name.clone(), config, versions, directory: None }
}

/// A model of the adding backend; `rows` is its batch size, 0 for none.
fn model(
    name: &str,
    rows: usize,
    inputs: &[&str],
    outputs: &[&str],
    parameters: &[(&str, &str)],
) -> ModelEntry {
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    entry(ModelConfig {
        backend: Some("adding".to_owned()),
        max_batch_size: Some(rows),
        inputs: inputs.iter().map(|declared| tensor(declared)).collect(),
        outputs: outputs.iter().map(|declared| tensor(declared)).collect(),
        parameters,
        ..ModelConfig::derived(name)
    })
}

/// A model that adds a number to `IN` and gives `OUT`, in batches of up to eight.
fn adder(name: &str, add: &str) -> ModelEntry {
    model(name, 8, &["IN"], &["OUT"], &[("add", add)])
}

fn instances(mut entry: ModelEntry, count: usize) -> ModelEntry {
    entry.config.instance_group = vec![InstanceGroup { count, ..InstanceGroup::default() }];
    entry
}

/// A step, `model: a=tensor b=tensor -> c=tensor`.
fn step(text: &str) -> EnsembleStep {
    let (model_name, maps) = text.split_once(": ").unwrap();
    let (inputs, outputs) = maps.split_once(" -> ").unwrap();
    let map = |text: &str| {
        let pairs = text.split(' ').map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    };
    EnsembleStep {
        model_name: model_name.to_owned(),
        input_map: map(inputs),
        output_map: map(outputs),
        ..EnsembleStep::default()
    }
}

fn ensemble(name: &str, rows: usize, inputs: &[&str], outputs: &[&str], steps: &[&str]) -> ModelEntry {
    let steps = steps.iter().map(|text| step(text)).collect();
    entry(ModelConfig {
        platform: Some("ensemble".to_owned()),
        max_batch_size: Some(rows),
        inputs: inputs.iter().map(|declared| tensor(declared)).collect(),
        outputs: outputs.iter().map(|declared| tensor(declared)).collect(),
        scheduling: Scheduling::Ensemble(Ensemble { steps, max_inflight_requests: 0 }),
        ..ModelConfig::derived(name)
    })
}

/// A request with these inputs.
fn request(model: &str, inputs: &[(&str, &[usize], &[u8])]) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest(model));
    for (name, shape, data) in inputs {
        let tensor = Tensor::new(DataType::Uint8, Shape::new(shape), Bytes::copy_from_slice(data)).unwrap();
        request.inputs.push(InputTensor { name: (*name).into(), tensor });
    }
    request
}

/// One row of one byte for input `IN`.
fn byte(model: &str, byte: u8) -> InferRequest {
    request(model, &[("IN", &[1, 1], &[byte])])
}

fn wanting(mut request: InferRequest, outputs: &[&str]) -> InferRequest {
    request.outputs = outputs.iter().map(|name| RequestedOutput::new(*name)).collect();
    request
}
