//! The engine with the built-in backend: what a request meets on its way, without a network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::BuiltIn;
use adulis_engine::{Engine, Settings};
use adulis_repository::{DynamicBatching, ModelConfig, ModelEntry, ModelVersion, QueuePolicy, Scheduling};
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{
    ErrorKind, Fault, IndexQuery, InferRequest, InferResponse, InferenceService, InputTensor, ModelRef,
    ModelState,
};
use bytes::Bytes;

struct Server {
    engine: Arc<Engine>,
    registry: MetricRegistry,
}

impl Server {
    fn start(settings: Settings, entries: &[ModelEntry]) -> Self {
        let registry = MetricRegistry::default();
        let engine = Engine::new(settings, vec![Arc::new(BuiltIn)], &registry).unwrap();
        engine.load(entries);
        Self { engine, registry }
    }

    fn metric(&self, line: &str) -> f64 {
        let text = self.registry.render(MetricsFormat::OpenMetrics);
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{line} is not in\n{text}")).parse().unwrap()
    }
}

/// No run on the caller's thread, so that everything goes through the queue.
fn queued() -> Settings {
    Settings { inline_threshold: Duration::ZERO, execution_threads: 2, ..Settings::default() }
}

fn entry(name: &str, parameters: &[(&str, &str)]) -> ModelEntry {
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config =
        ModelConfig { backend: Some("identity".to_owned()), parameters, ..ModelConfig::derived(name) };
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    ModelEntry { name: name.to_owned(), config, versions, directory: None }
}

fn request(model: &str, rows: usize, value: u8) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest(model));
    let data = Bytes::from(vec![value; rows * 16 * 4]);
    let tensor = Tensor::new(DataType::Fp32, Shape::from([rows, 16]), data).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    request
}

fn value(response: &InferResponse) -> u8 {
    response.outputs[0].tensor.data()[0]
}

async fn infer_all(engine: &Arc<Engine>, requests: Vec<InferRequest>) -> Vec<Result<InferResponse, Fault>> {
    let tasks: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let engine = Arc::clone(engine);
            tokio::spawn(async move { engine.infer(request).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn each_request_gets_its_own_rows_back() {
    for settings in [queued(), Settings::default()] {
        let server = Server::start(settings, &[entry("m", &[])]);
        let requests = (0..100).map(|index| request("m", 1 + usize::from(index) % 5, index)).collect();
        for (index, answer) in infer_all(&server.engine, requests).await.into_iter().enumerate() {
            let answer = answer.unwrap();
            assert_eq!(usize::from(value(&answer)), index);
            assert_eq!(answer.outputs[0].tensor.shape(), &Shape::from([1 + index % 5, 16]));
            assert_eq!((&*answer.model_name, answer.model_version), ("m", 1));
        }
        assert!(
            server.metric("adulis_inference_requests_total{model=\"m\",version=\"1\",outcome=\"ok\"}")
                == 100.0
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_share_a_batch() {
    let server = Server::start(queued(), &[entry("m", &[("execute_delay_microseconds", "20000")])]);
    let started = Instant::now();
    for answer in infer_all(&server.engine, (0..64).map(|index| request("m", 1, index)).collect()).await {
        answer.unwrap();
    }
    let runs = server.metric("adulis_executions_total{model=\"m\",version=\"1\"}");
    assert!(runs <= 8.0, "64 requests took {runs} runs in {:?}", started.elapsed());
    assert_eq!(server.metric("adulis_inference_rows_total{model=\"m\",version=\"1\"}"), 64.0);
    assert_eq!(server.metric("adulis_requests_in_flight"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_lets_a_batch_fill_and_ends() {
    let mut slow = entry("m", &[]);
    slow.config.max_batch_size = Some(8);
    slow.config.scheduling = Scheduling::Dynamic(DynamicBatching {
        max_queue_delay: Duration::from_millis(300),
        ..DynamicBatching::default()
    });
    let server = Server::start(queued(), &[slow]);
    let started = Instant::now();
    for answer in infer_all(&server.engine, (0..8).map(|index| request("m", 1, index)).collect()).await {
        answer.unwrap();
    }
    assert!(started.elapsed() < Duration::from_millis(290), "a full batch does not wait");
    assert_eq!(server.metric("adulis_executions_total{model=\"m\",version=\"1\"}"), 1.0);
    let started = Instant::now();
    server.engine.infer(request("m", 1, 0)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(290), "a single request waits for others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_request_fails_alone() {
    let parameters = [
        ("execute_delay_microseconds", "5000"),
        ("fail_on", "13"),
        ("panic_on", "14"),
    ];
    let server = Server::start(queued(), &[entry("m", &parameters)]);
    let answers = infer_all(&server.engine, (0..32).map(|index| request("m", 1, index)).collect()).await;
    for (index, answer) in answers.into_iter().enumerate() {
        match (index, answer) {
            (13, Err(fault)) => {
                assert_eq!(fault.kind(), ErrorKind::Internal);
                assert!(fault.client_message().contains("asked to fail"), "{fault}");
            }
            (14, Err(fault)) => {
                assert_eq!(fault.client_message(), "model 'm': the backend panicked");
            }
            (index, answer) => assert_eq!(usize::from(value(&answer.unwrap())), index),
        }
    }
    server.engine.infer(request("m", 1, 1)).await.unwrap();
    assert!(server.metric("adulis_instance_rebuilds_total{model=\"m\",version=\"1\"}") >= 1.0);
}

#[tokio::test]
async fn a_panic_on_the_callers_thread_is_answered_too() {
    let server = Server::start(Settings::default(), &[entry("m", &[("panic_on", "14")])]);
    let fault = server.engine.infer(request("m", 1, 14)).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Internal);
    assert_eq!(value(&server.engine.infer(request("m", 1, 7)).await.unwrap()), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let mut small = entry("m", &[("execute_delay_microseconds", "100000")]);
    small.config.max_batch_size = Some(1);
    small.config.scheduling = Scheduling::Dynamic(DynamicBatching {
        default_queue_policy: Some(QueuePolicy { max_queue_size: 2, ..QueuePolicy::default() }),
        ..DynamicBatching::default()
    });
    let server = Server::start(queued(), &[small]);
    let first = tokio::spawn({
        let engine = Arc::clone(&server.engine);
        async move { engine.infer(request("m", 1, 0)).await }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    let answers = infer_all(&server.engine, (0..9).map(|index| request("m", 1, index)).collect()).await;
    first.await.unwrap().unwrap();
    let refused: Vec<&Fault> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refused.len(), 7, "one runs, two wait");
    for fault in refused {
        assert_eq!(fault.kind(), ErrorKind::Overloaded);
        assert!(matches!(fault.retry(), adulis_types::Retry::After(_)));
        assert_eq!(fault.client_message(), "model 'm': the queue is full (2 requests are waiting)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_wait_in_the_queue_and_in_the_run() {
    let server = Server::start(queued(), &[entry("m", &[("execute_delay_microseconds", "200000")])]);
    let limited = || {
        let mut request = request("m", 1, 0);
        request.timeout = Some(Duration::from_millis(20));
        request
    };
    let started = Instant::now();
    for answer in infer_all(&server.engine, vec![limited(), limited()]).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    }
    assert!(started.elapsed() < Duration::from_millis(150), "nobody waits for the run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_timeout_refuses_only_what_still_waits() {
    let mut model = entry("m", &[("execute_delay_microseconds", "100000")]);
    model.config.max_batch_size = Some(1);
    let policy = QueuePolicy { default_timeout: Some(Duration::from_millis(30)), ..QueuePolicy::default() };
    model.config.scheduling = Scheduling::Dynamic(DynamicBatching {
        default_queue_policy: Some(policy),
        ..DynamicBatching::default()
    });
    let server = Server::start(queued(), &[model]);
    let answers = infer_all(&server.engine, vec![request("m", 1, 0), request("m", 1, 1)]).await;
    let failed: Vec<&Fault> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(failed.len(), 1, "the one that runs is not refused");
    assert!(failed[0].client_message().contains("timed out in the queue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_the_queue() {
    // Long enough that the first run outlasts ten callers, on a busy machine too.
    let server = Server::start(queued(), &[entry("m", &[("execute_delay_microseconds", "1000000")])]);
    let first = tokio::spawn({
        let engine = Arc::clone(&server.engine);
        async move { engine.infer(request("m", 1, 0)).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    for _ in 0..10 {
        let gone =
            tokio::time::timeout(Duration::from_millis(1), server.engine.infer(request("m", 1, 1))).await;
        assert!(gone.is_err());
    }
    let waiting = "adulis_queue_requests{model=\"m\",version=\"1\"}";
    assert_eq!(server.metric(waiting), 0.0);
    let second = tokio::spawn({
        let engine = Arc::clone(&server.engine);
        async move { engine.infer(request("m", 1, 2)).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(server.metric(waiting), 1.0);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(server.metric(waiting), 0.0);
    assert_eq!(server.metric("adulis_inference_rows_total{model=\"m\",version=\"1\"}"), 2.0);
    assert_eq!(
        server.metric("adulis_inference_requests_total{model=\"m\",version=\"1\",outcome=\"cancelled\"}"),
        10.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_model_does_not_starve_another() {
    let settings = Settings { execution_threads: 1, ..queued() };
    let busy = entry("busy", &[("execute_delay_microseconds", "10000")]);
    let server = Server::start(settings, &[busy, entry("quick", &[])]);
    let flood: Vec<_> = (0..20)
        .map(|_| {
            let engine = Arc::clone(&server.engine);
            tokio::spawn(async move { engine.infer(request("busy", 64, 0)).await.unwrap() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let started = Instant::now();
    server.engine.infer(request("quick", 1, 0)).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_millis(60),
        "waited {:?} behind 200 ms of work",
        started.elapsed()
    );
    for task in flood {
        task.await.unwrap();
    }
}

// One I/O thread: tasks that are woken in order run in order.
#[tokio::test]
async fn ordered_models_answer_in_order() {
    let mut model = entry("m", &[("execute_delay_row_microseconds", "5000")]);
    model.config.max_batch_size = Some(8);
    model.config.instance_group = vec![adulis_repository::InstanceGroup {
        count: 2,
        kind: adulis_repository::InstanceKind::Cpu,
        ..adulis_repository::InstanceGroup::default()
    }];
    model.config.scheduling = Scheduling::Dynamic(DynamicBatching {
        preserve_ordering: true,
        preferred_batch_size: vec![8],
        ..DynamicBatching::default()
    });
    let server = Server::start(queued(), &[model]);
    let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
    for (index, rows) in [8, 1, 8, 1].into_iter().enumerate() {
        let (engine, told) = (Arc::clone(&server.engine), told.clone());
        tokio::spawn(async move {
            engine.infer(request("m", rows, 0)).await.unwrap();
            told.send(index).unwrap();
        });
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(order.recv().await.unwrap());
    }
    assert_eq!(seen, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_thousand_idle_models_cost_no_thread() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let entries: Vec<ModelEntry> = (0..1000).map(|index| entry(&format!("m{index}"), &[])).collect();
    let server = Server::start(queued(), &entries);
    assert!(threads() <= before + 2 + 12, "{} threads for a thousand models", threads() - before);
    let index = server.engine.repository_index(&IndexQuery::default()).unwrap();
    assert_eq!(index.len(), 1000);
    assert!(server.engine.ready());
    assert_eq!(value(&server.engine.infer(request("m999", 1, 9)).await.unwrap()), 9);
}

#[tokio::test]
async fn a_model_that_fails_to_load_says_why_and_the_others_serve() {
    let mut unknown = entry("unknown", &[]);
    unknown.config.backend = Some("nonesuch".to_owned());
    let server = Server::start(queued(), &[unknown, entry("good", &[]), entry("odd", &[("fail_on", "x")])]);
    assert!(!server.engine.ready(), "strict readiness");
    let fault = server.engine.infer(request("unknown", 1, 0)).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Unavailable);
    assert_eq!(
        fault.client_message(),
        "model 'unknown' is not ready: failed to load: backend 'nonesuch' is not known; there are identity"
    );
    let index = server.engine.repository_index(&IndexQuery::default()).unwrap();
    let states: Vec<bool> = index.iter().map(|line| line.state == Some(ModelState::Ready)).collect();
    assert_eq!(states, [true, false, false]);
    assert_eq!(value(&server.engine.infer(request("good", 1, 3)).await.unwrap()), 3);
    let missing = server.engine.infer(request("nobody", 1, 0)).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(missing.client_message(), "Request for unknown model: 'nobody' is not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_engine_lets_the_running_batch_finish() {
    let server = Server::start(queued(), &[entry("m", &[("execute_delay_microseconds", "50000")])]);
    let waiting = tokio::spawn({
        let engine = Arc::clone(&server.engine);
        async move { engine.infer(request("m", 1, 5)).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(server);
    assert_eq!(value(&waiting.await.unwrap().unwrap()), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_shorter_than_a_hand_over_is_done_at_once_unless_others_ask_or_a_delay_is_configured() {
    let settings = Settings { inline_threshold: Duration::from_millis(100), ..Settings::default() };
    let delay = [("execute_delay_microseconds", "5000")];
    let mut patient = entry("patient", &delay);
    patient.config.scheduling = Scheduling::Dynamic(DynamicBatching {
        max_queue_delay: Duration::from_micros(100),
        ..DynamicBatching::default()
    });
    let server = Server::start(settings, &[entry("m", &delay), patient]);
    let queued = |model: &str| {
        let name = "adulis_inference_stage_duration_seconds_count";
        server.metric(&format!("{name}{{model=\"{model}\",version=\"1\",stage=\"queue\"}}"))
    };

    server.engine.infer(request("m", 1, 1)).await.unwrap();
    assert_eq!(queued("m"), 0.0, "nobody else asked");
    server.engine.infer(request("patient", 1, 1)).await.unwrap();
    assert_eq!(queued("patient"), 1.0, "a delay is configured");

    for answer in infer_all(&server.engine, (0..16).map(|index| request("m", 1, index)).collect()).await {
        answer.unwrap();
    }
    let runs = server.metric("adulis_executions_total{model=\"m\",version=\"1\"}");
    assert!(queued("m") >= 12.0, "{} of 16 were queued", queued("m"));
    assert!(runs <= 9.0, "17 requests took {runs} runs");
}

#[tokio::test]
async fn short_runs_share_batches_while_requests_come_faster_than_a_hand_over() {
    let settings = Settings { inline_threshold: Duration::from_millis(200), ..Settings::default() };
    let server = Server::start(settings, &[entry("m", &[("execute_delay_microseconds", "1000")])]);
    for _ in 0..60 {
        server.engine.infer(request("m", 1, 1)).await.unwrap();
    }
    let name = "adulis_inference_stage_duration_seconds_count";
    let queued = server.metric(&format!("{name}{{model=\"m\",version=\"1\",stage=\"queue\"}}"));
    assert!(
        (20.0..60.0).contains(&queued),
        "{queued} of 60 were queued: all but the first, before the pace was known"
    );
}
