//! Models with a response cache: what is known is not computed again, and every answer says how it was found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod broken;
mod loading;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::{Backend, BuiltIn};
use adulis_engine::{CacheSettings, Engine, Settings};
use adulis_repository::{Caching, DynamicBatching, ModelConfig, ModelEntry, ModelVersion, Scheduling};
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{
    CacheDirective, CacheStatus, Fault, InferRequest, InferResponse, InferenceService, InferenceStatistics,
    InputTensor, ModelRef, ParameterValue,
};
use bytes::Bytes;

use broken::BreaksOnce;

struct Server {
    engine: Arc<Engine>,
    registry: MetricRegistry,
}

impl Server {
    fn start(entries: &[ModelEntry]) -> Self {
        Self::with(CacheSettings { jitter: 0.0, ..CacheSettings::default() }, entries)
    }

    fn with(cache: CacheSettings, entries: &[ModelEntry]) -> Self {
        let settings = Settings { execution_threads: 2, cache, ..Settings::default() };
        let registry = MetricRegistry::default();
        let engine = Engine::new(settings, backends(), &registry).unwrap();
        engine.load(entries);
        Self { engine, registry }
    }

    async fn ask(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        self.engine.infer(request).await
    }

    /// How a request came to its answer, which is that of the identity.
    async fn status(&self, request: InferRequest) -> CacheStatus {
        let expected = request.inputs[0].tensor.clone();
        let response = self.ask(request).await.unwrap();
        assert_eq!(response.outputs[0].tensor, expected);
        let outcome = response.cache.unwrap();
        let told = ParameterValue::String(outcome.status.as_str().into());
        assert_eq!(response.parameters.get("cache"), Some(&told));
        let age = ParameterValue::count(outcome.age.as_secs());
        assert_eq!(response.parameters.get("cache_age_seconds"), Some(&age));
        outcome.status
    }

    fn metric(&self, line: &str) -> f64 {
        let text = self.registry.render(MetricsFormat::OpenMetrics);
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{line} is not in\n{text}")).parse().unwrap()
    }

    fn runs(&self, model: &str) -> f64 {
        self.metric(&format!("adulis_executions_total{{model=\"{model}\",version=\"1\"}}"))
    }

    fn statistics(&self, model: &str) -> (u64, InferenceStatistics) {
        let all = self.engine.statistics(Some(&ModelRef::latest(model))).unwrap();
        (all[0].inference_count, all[0].inference)
    }
}

fn backends() -> Vec<Arc<dyn Backend>> {
    vec![Arc::new(BuiltIn), Arc::new(BreaksOnce::default())]
}

/// A cached identity. Its files are in `folder`, if there is one.
fn entry(name: &str, folder: Option<&Path>, parameters: &[(&str, &str)]) -> ModelEntry {
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = ModelConfig {
        backend: Some("identity".to_owned()),
        parameters,
        response_cache: true,
        ..ModelConfig::derived(name)
    };
    let path = folder.map_or_else(|| PathBuf::from("none"), |folder| folder.join("1/model.onnx"));
    let versions = vec![ModelVersion { version: 1, path }];
    ModelEntry { name: name.to_owned(), config, versions, directory: folder.map(Path::to_owned) }
}

/// Rows of 16 numbers; each of a row is the same.
fn request(model: &str, rows: &[u8]) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest(model));
    let data: Vec<u8> = rows.iter().flat_map(|row| [*row; 16 * 4]).collect();
    let tensor = Tensor::new(DataType::Fp32, Shape::from([rows.len(), 16]), Bytes::from(data)).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    request
}

/// What goes before others waits for none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_no_run_of_lower_priority() {
    let mut model = entry("m", None, &[("execute_delay_microseconds", "100000")]);
    let batching = DynamicBatching { priority_levels: 2, ..DynamicBatching::default() };
    model.config.scheduling = Scheduling::Dynamic(batching);
    model.config.max_batch_size = Some(1);
    let server = Arc::new(Server::start(&[model]));
    let ask = |row: u8, priority: u64| {
        let server = Arc::clone(&server);
        let request = InferRequest { priority, ..request("m", &[row]) };
        tokio::spawn(async move { server.status(request).await })
    };
    // One runs, and the others wait in this order.
    let mut asked = Vec::new();
    for row in [1, 2, 3, 4] {
        asked.push(ask(row, 2));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (equal, before) = (ask(4, 2), ask(4, 1));
    assert_eq!(before.await.unwrap(), CacheStatus::Miss, "it runs by itself");
    assert!(!asked[2].is_finished(), "it should have gone first");
    assert_eq!(equal.await.unwrap(), CacheStatus::Coalesced);
}

#[tokio::test]
async fn what_is_known_is_not_computed_again() {
    let server = Server::start(&[entry("m", None, &[])]);
    assert_eq!(server.status(request("m", &[1])).await, CacheStatus::Miss);
    for _ in 0..3 {
        assert_eq!(server.status(request("m", &[1])).await, CacheStatus::Hit);
    }
    assert_eq!(server.status(request("m", &[2])).await, CacheStatus::Miss);
    assert_eq!(server.runs("m"), 2.0);
    let (inference_count, inference) = server.statistics("m");
    assert_eq!(inference_count, 2, "as in Triton, what the cache answers is not inferred");
    let InferenceStatistics { success, queue, compute_infer, cache_hit, cache_miss, .. } = inference;
    assert_eq!((success.count, queue.count, compute_infer.count), (5, 5, 2));
    assert_eq!((cache_hit.count, cache_miss.count), (3, 2));
    assert!(!cache_hit.total.is_zero() && !cache_miss.total.is_zero());
    assert_eq!(server.metric("nv_cache_num_hits_per_model{model=\"m\",version=\"1\"}"), 3.0);
    assert_eq!(server.metric("nv_inference_count{model=\"m\",version=\"1\"}"), 2.0);
    let requests = |outcome: &str| {
        let name = "adulis_cache_requests_total";
        server.metric(&format!("{name}{{model=\"m\",version=\"1\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!([requests("hit"), requests("miss"), requests("bypass")], [3.0, 2.0, 0.0]);
    assert_eq!(server.metric("adulis_cache_entries{model=\"m\",version=\"1\",tier=\"memory\"}"), 2.0);
    assert_eq!(server.metric("adulis_cache_lookup_duration_seconds_count{tier=\"memory\"}"), 5.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_at_once_are_one_execution() {
    let server = Server::start(&[entry("m", None, &[("execute_delay_ms", "100")])]);
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let engine = Arc::clone(&server.engine);
            tokio::spawn(async move { engine.infer(request("m", &[7])).await.unwrap().cache.unwrap().status })
        })
        .collect();
    let mut missed = 0;
    for task in tasks {
        missed += usize::from(task.await.unwrap() == CacheStatus::Miss);
    }
    // Beside the run that warms the model up.
    assert_eq!((server.runs("m"), missed), (1.0, 1));
    assert_eq!(server.statistics("m").0, 1);
}

#[tokio::test]
async fn who_wants_no_cache_gets_none() {
    let server = Server::start(&[entry("m", None, &[]), {
        let mut plain = entry("plain", None, &[]);
        plain.config.response_cache = false;
        plain
    }]);
    let with = |directive| InferRequest { cache: directive, ..request("m", &[1]) };
    assert_eq!(server.status(with(CacheDirective::NoStore)).await, CacheStatus::Bypass);
    assert_eq!(server.status(with(CacheDirective::Use)).await, CacheStatus::Miss);
    assert_eq!(server.status(with(CacheDirective::NoStore)).await, CacheStatus::Bypass);
    assert_eq!(server.status(with(CacheDirective::NoCache)).await, CacheStatus::Bypass);
    assert_eq!(server.runs("m"), 4.0);
    let other = InferRequest { cache: CacheDirective::NoCache, ..request("m", &[2]) };
    assert_eq!(server.status(other).await, CacheStatus::Bypass);
    assert_eq!(server.status(request("m", &[2])).await, CacheStatus::Hit, "it was remembered");
    let (_, inference) = server.statistics("m");
    assert_eq!((inference.cache_hit.count, inference.cache_miss.count), (1, 1));
    let plain = server.ask(request("plain", &[1])).await.unwrap();
    assert!(plain.cache.is_none() && plain.parameters.is_empty());
}

#[tokio::test]
async fn a_model_that_reads_requests_is_asked_for_each() {
    let server = Server::start(&[entry("m", None, &[("echo_parameters", "true")])]);
    let with = |id: &str, color: &str| {
        let mut request = InferRequest { id: id.into(), ..request("m", &[1]) };
        request.parameters.set("color", ParameterValue::String(color.into()));
        request
    };
    let mut seen = Vec::new();
    for (id, color) in [("a", "red"), ("a", "red"), ("a", "blue"), ("b", "red")] {
        let response = server.ask(with(id, color)).await.unwrap();
        assert_eq!(response.parameters.get("color"), Some(&ParameterValue::String(color.into())));
        seen.push(response.cache.unwrap().status);
    }
    let (hit, miss) = (CacheStatus::Hit, CacheStatus::Miss);
    assert_eq!(seen, [miss, hit, miss, miss]);
}

#[tokio::test]
async fn failures_are_remembered_where_that_is_wanted() {
    let mut remembering = entry("remembering", None, &[("fail_on", "9")]);
    remembering.config.caching = Caching { negative_ttl: Duration::from_secs(60), ..Caching::default() };
    let server = Server::start(&[remembering, entry("m", None, &[("fail_on", "9")])]);
    for model in ["remembering", "m"] {
        let before = server.ask(request(model, &[9])).await.unwrap_err().client_message().into_owned();
        let again = server.ask(request(model, &[9])).await.unwrap_err();
        assert_eq!(again.client_message(), before);
    }
    let (_, inference) = server.statistics("remembering");
    assert_eq!(inference.fail.count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_date_is_given_and_computed_anew_behind() {
    let mut model = entry("m", None, &[]);
    model.config.caching = Caching {
        ttl: Some(Duration::from_millis(1)),
        stale_while_revalidate: Duration::from_secs(3600),
        ..Caching::default()
    };
    let server = Server::start(&[model]);
    assert_eq!(server.status(request("m", &[1])).await, CacheStatus::Miss);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(server.status(request("m", &[1])).await, CacheStatus::Stale);
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.runs("m") < 2.0 {
        assert!(Instant::now() < deadline, "it is not computed anew");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
