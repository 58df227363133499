//! More requests than a model can answer: who is refused, who is not run, who makes room for whom.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod fairness;
mod goodput;
mod sizes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::BuiltIn;
use adulis_engine::{Admission, Engine, Settings};
use adulis_repository::{DynamicBatching, ModelConfig, ModelEntry, ModelVersion, Scheduling};
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{
    ErrorKind, Fault, InferRequest, InferResponse, InferenceService, InputTensor, ModelRef, Retry,
};
use bytes::Bytes;
use tokio::task::JoinHandle;

const MS: Duration = Duration::from_millis(1);

struct Server {
    engine: Arc<Engine>,
    registry: MetricRegistry,
}

impl Server {
    fn start(settings: Settings, model: ModelEntry) -> Self {
        let registry = MetricRegistry::default();
        let engine = Engine::new(settings, vec![Arc::new(BuiltIn)], &registry).unwrap();
        engine.load(&[model]);
        Self { engine, registry }
    }

    /// A metric's sample of model `m`; none while there is no such series.
    fn metric(&self, name: &str, labels: &str) -> f64 {
        let line = format!("{name}{{model=\"m\",version=\"1\"{labels}}} ");
        let text = self.registry.render(MetricsFormat::OpenMetrics);
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(&line));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    fn shed(&self, reason: &str) -> f64 {
        self.metric("adulis_requests_shed_total", &format!(",reason=\"{reason}\""))
    }

    fn ask(&self, request: InferRequest) -> JoinHandle<Result<InferResponse, Fault>> {
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move { engine.infer(request).await })
    }

    /// Waits until a batch runs, and that many requests wait.
    async fn busy(&self, waiting: f64) {
        let is_so = || {
            (self.metric("adulis_executing_batches", ""), self.metric("adulis_queue_requests", ""))
                == (1.0, waiting)
        };
        for _ in 0..2000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(MS).await;
        }
        panic!("no batch runs while {waiting} requests wait");
    }
}

fn settings() -> Settings {
    Settings { inline_threshold: Duration::ZERO, execution_threads: 1, ..Settings::default() }
}

/// Each run takes this long; a batch has up to so many rows.
fn model(run: Duration, max_batch_size: usize) -> ModelEntry {
    let microseconds = run.as_micros().to_string();
    let parameters = BTreeMap::from([("execute_delay_microseconds".to_owned(), microseconds)]);
    let config = ModelConfig {
        backend: Some("identity".to_owned()),
        max_batch_size: Some(max_batch_size),
        scheduling: Scheduling::Dynamic(DynamicBatching { priority_levels: 3, ..DynamicBatching::default() }),
        parameters,
        ..ModelConfig::derived("m")
    };
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    ModelEntry { name: "m".to_owned(), config, versions, directory: None }
}

fn request(value: f32) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest("m"));
    let data: Vec<u8> = [value; 16].iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = Tensor::new(DataType::Fp32, Shape::from([1, 16]), Bytes::from(data)).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    request
}

fn within(timeout: Duration) -> InferRequest {
    InferRequest { timeout: Some(timeout), ..request(1.0) }
}

fn of_priority(priority: u64) -> InferRequest {
    InferRequest { priority, ..request(1.0) }
}

fn retry_after(fault: &Fault) -> Duration {
    match fault.retry() {
        Retry::After(delay) => delay,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_in_time_is_refused_at_once_and_told_when_to_come_back() {
    let server = Server::start(settings(), model(300 * MS, 1));
    let first = server.ask(request(1.0));
    server.busy(0.0).await;
    let second = server.ask(request(1.0));
    server.busy(1.0).await;

    let asked = Instant::now();
    let fault = server.ask(within(500 * MS)).await.unwrap().unwrap_err();
    assert!(asked.elapsed() < 200 * MS, "refused after {:?}", asked.elapsed());
    assert_eq!(fault.kind(), ErrorKind::Overloaded);
    assert!(fault.client_message().starts_with("model 'm': an answer is expected after "), "{fault}");
    // The runs that are ahead and its own end within 900 ms.
    let delay = retry_after(&fault);
    assert!(delay > 50 * MS && delay < 450 * MS, "{delay:?}");
    assert_eq!(server.shed("deadline"), 1.0);

    // Shorter than a run: it is of no use to come back.
    let fault = server.ask(within(200 * MS)).await.unwrap().unwrap_err();
    assert_eq!((fault.kind(), fault.retry()), (ErrorKind::DeadlineExceeded, Retry::Never));
    server.ask(within(5000 * MS)).await.unwrap().unwrap();
    for asked in [first, second] {
        asked.await.unwrap().unwrap();
    }
    // Nothing waits: it is tried, whatever is expected.
    let fault = server.ask(within(20 * MS)).await.unwrap().unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::DeadlineExceeded);
    assert!(fault.client_message().contains("deadline exceeded"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_admission_is_off_everybody_waits() {
    let settings = Settings { admission: Admission::None, ..settings() };
    let server = Server::start(settings, model(200 * MS, 1));
    let first = server.ask(request(1.0));
    server.busy(0.0).await;
    let second = server.ask(request(1.0));
    server.busy(1.0).await;
    let asked = Instant::now();
    let fault = server.ask(within(100 * MS)).await.unwrap().unwrap_err();
    assert!(asked.elapsed() >= 100 * MS, "refused after {:?}", asked.elapsed());
    assert_eq!(fault.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(server.shed("deadline"), 0.0);
    for asked in [first, second] {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_in_time_no_more_is_not_run() {
    let server = Server::start(settings(), model(200 * MS, 1));
    let first = server.ask(request(1.0));
    server.busy(0.0).await;
    // Admitted: it would be answered after 400 ms.
    let late = server.ask(InferRequest { priority: 2, ..within(550 * MS) });
    server.busy(1.0).await;
    // One that goes before it was not foreseen: now it would be after 600 ms.
    let before = server.ask(of_priority(1));
    let behind = server.ask(of_priority(3));
    server.busy(3.0).await;
    let fault = late.await.unwrap().unwrap_err();
    assert_eq!((fault.kind(), fault.retry()), (ErrorKind::DeadlineExceeded, Retry::Anywhere));
    assert!(fault.client_message().contains("the deadline can't be met any more"), "{fault}");
    for asked in [first, before, behind] {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(server.shed("late"), 1.0);
    assert_eq!(server.metric("adulis_inference_rows_total", ""), 3.0, "the one that was late was not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_is_bounded() {
    let mut model = model(300 * MS, 1);
    model.config.safeguards.max_queue_time = Some(400 * MS);
    let server = Server::start(settings(), model);
    let first = server.ask(request(1.0));
    server.busy(0.0).await;
    let second = server.ask(request(1.0));
    server.busy(1.0).await;
    let fault = server.ask(request(1.0)).await.unwrap().unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Overloaded);
    assert!(
        fault.client_message().contains("at most 400000 us are allowed (max_queue_time)"),
        "{fault}"
    );
    assert!(retry_after(&fault) < 250 * MS, "{:?}", fault.retry());
    assert_eq!(server.shed("queue_time"), 1.0);
    for asked in [first, second] {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn low_priority_makes_room_for_high_and_is_told_once() {
    let settings = Settings { max_queued_rows: 2, ..settings() };
    let server = Server::start(settings, model(200 * MS, 1));
    let first = server.ask(request(1.0));
    server.busy(0.0).await;
    let older = server.ask(of_priority(3));
    server.busy(1.0).await;
    let younger = server.ask(of_priority(3));
    server.busy(2.0).await;

    let high = server.ask(of_priority(1));
    let fault = younger.await.unwrap().unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Overloaded);
    assert!(
        fault
            .client_message()
            .contains("a request of higher priority, or of a client with fewer, took this one's place"),
        "{fault}"
    );
    assert!(retry_after(&fault) > Duration::ZERO);
    // Its equals do not make room for it, and neither does one above it.
    let fault = server.ask(of_priority(3)).await.unwrap().unwrap_err();
    assert!(fault.client_message().contains("the queue is full"), "{fault}");
    // Two wait, and run one after the other.
    let delay = retry_after(&fault);
    assert!(delay >= 395 * MS && delay < 1000 * MS, "{delay:?}");
    for asked in [first, older, high] {
        asked.await.unwrap().unwrap();
    }
    assert_eq!((server.shed("displaced"), server.shed("queue_full")), (1.0, 1.0));
    assert_eq!(server.metric("adulis_inference_requests_total", ",outcome=\"ok\""), 3.0);
    assert_eq!(server.metric("adulis_inference_requests_total", ",outcome=\"overloaded\""), 2.0);
    assert_eq!(server.metric("adulis_queue_requests", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_have_a_high_priority_displaces_nobody_and_goes_before_nobody_above() {
    let settings = Settings { max_queued_rows: 2, ..settings() };
    let server = Server::start(settings, model(300 * MS, 1));
    let capped = |priority| InferRequest { highest_priority: 3, ..of_priority(priority) };
    let first = server.ask(request(1.0));
    server.busy(0.0).await;
    let waiting = [server.ask(of_priority(3)), server.ask(of_priority(2))];
    server.busy(2.0).await;
    // Of this model 0 stands for 2.
    for priority in [1, 0] {
        let fault = server.ask(capped(priority)).await.unwrap().unwrap_err();
        assert!(fault.client_message().contains("the queue is full"), "{priority}: {fault}");
    }
    // With a place of its own in the queue it makes room, as any of its level.
    for asked in waiting {
        asked.await.unwrap().unwrap();
    }
    first.await.unwrap().unwrap();
    let first = server.ask(request(1.0));
    server.busy(0.0).await;
    let (low, _other) = (server.ask(capped(1)), server.ask(of_priority(2)));
    server.busy(2.0).await;
    let high = server.ask(of_priority(2));
    assert!(low.await.unwrap().unwrap_err().client_message().contains("a request of higher priority"));
    for asked in [first, high] {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_number_is_refused_alone() {
    let mut model = model(50 * MS, 8);
    model.config.safeguards.refuse_non_finite_outputs = true;
    let server = Server::start(settings(), model);
    let blocker = server.ask(request(1.0));
    server.busy(0.0).await;
    // These share a batch.
    let asked = [1.0, f32::NAN, 2.0, f32::NEG_INFINITY].map(|value| server.ask(request(value)));
    blocker.await.unwrap().unwrap();
    let mut told = Vec::new();
    for asked in asked {
        told.push(asked.await.unwrap());
    }
    for good in [0, 2] {
        told[good].as_ref().unwrap();
    }
    for bad in [1, 3] {
        let fault = told[bad].as_ref().unwrap_err();
        assert_eq!((fault.kind(), fault.retry()), (ErrorKind::Internal, Retry::Never));
        let expected = "model 'm': output 'OUTPUT0' has a NaN or an infinity at index 0, which the model's configuration refuses (refuse_non_finite_outputs)";
        assert_eq!(fault.client_message(), expected);
    }
    assert_eq!(server.metric("adulis_non_finite_outputs_total", ""), 2.0);
    assert_eq!(server.metric("adulis_executions_total", ""), 2.0, "nothing was run again");
}

#[tokio::test]
async fn an_answer_that_is_no_number_is_an_answer_unless_it_is_refused() {
    for (refuse, settings) in [(false, Settings::default()), (true, Settings::default())] {
        let mut model = model(Duration::ZERO, 8);
        model.config.safeguards.refuse_non_finite_outputs = refuse;
        let server = Server::start(settings, model);
        let answer = server.engine.infer(request(f32::NAN)).await;
        assert_eq!(answer.is_err(), refuse);
    }
}
