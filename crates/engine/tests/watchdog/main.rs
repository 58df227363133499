//! Runs that do not end, and models that do not answer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backend;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_engine::{Engine, Settings};
use adulis_repository::{
    DynamicBatching, InstanceGroup, InstanceKind, ModelConfig, ModelEntry, ModelVersion, Safeguards,
    Scheduling,
};
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_types::{
    ErrorKind, Fault, IndexQuery, InferResponse, InferenceService, ModelRef, ModelState, Retry,
};
use tokio::task::JoinHandle;

use backend::{FAIL, HANG, Hanging, SLOW, STOPPABLE};
use support::byte_request;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_millis(150);

struct Server {
    engine: Option<Arc<Engine>>,
    registry: MetricRegistry,
    backend: Hanging,
}

impl Server {
    fn start(settings: Settings, safeguards: Safeguards, instances: usize) -> Self {
        let group = InstanceGroup { count: instances, kind: InstanceKind::Cpu, ..InstanceGroup::default() };
        let config = ModelConfig {
            max_batch_size: Some(1),
            instance_group: vec![group],
            safeguards,
            ..ModelConfig::derived("m")
        };
        Self::of(settings, config)
    }

    /// Requests that wait while a run is under way share the next one.
    fn batching() -> Self {
        let config = ModelConfig {
            max_batch_size: Some(8),
            scheduling: Scheduling::Dynamic(DynamicBatching::default()),
            safeguards: limited(),
            ..ModelConfig::derived("m")
        };
        Self::of(settings(), config)
    }

    fn of(settings: Settings, config: ModelConfig) -> Self {
        let (registry, backend) = (MetricRegistry::default(), Hanging::default());
        let engine = Engine::new(settings, vec![Arc::new(backend.clone())], &registry).unwrap();
        let config = ModelConfig { backend: Some("hanging".to_owned()), ..config };
        let versions = vec![ModelVersion { version: 1, path: "none".into() }];
        engine.load(&[ModelEntry { name: "m".to_owned(), config, versions, directory: None }]);
        Self { engine: Some(engine), registry, backend }
    }

    fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().unwrap()
    }

    fn metric(&self, line: &str) -> f64 {
        let text = self.registry.render(MetricsFormat::OpenMetrics);
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    fn exceeded(&self, outcome: &str) -> f64 {
        let name = "adulis_execution_limit_exceeded_total";
        self.metric(&format!("{name}{{model=\"m\",version=\"1\",outcome=\"{outcome}\"}}"))
    }

    fn stuck(&self) -> f64 {
        self.metric("adulis_execution_threads_stuck")
    }

    fn is_ready(&self) -> bool {
        self.engine().model_ready(&ModelRef::latest("m")).unwrap()
    }

    fn ask(&self, value: u8) -> JoinHandle<Result<InferResponse, Fault>> {
        let engine = Arc::clone(self.engine());
        let request = byte_request(ModelRef::latest("m"), &[value]);
        tokio::spawn(async move { engine.infer(request).await })
    }

    /// Asks for all of these in one batch.
    async fn ask_together(&self, values: &[u8]) -> Vec<Result<InferResponse, Fault>> {
        let before = self.ask(SLOW);
        tokio::time::sleep(20 * MS).await;
        let asked: Vec<_> = values.iter().map(|value| self.ask(*value)).collect();
        before.await.unwrap().unwrap();
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.unwrap());
        }
        answers
    }

    fn self_checks(&self, outcome: &str) -> f64 {
        self.metric(&format!("adulis_self_checks_total{{model=\"m\",version=\"1\",outcome=\"{outcome}\"}}"))
    }

    async fn answers(&self, value: u8) {
        let answer = self.ask(value).await.unwrap().unwrap();
        assert_eq!(&answer.outputs[0].tensor.data()[..], [value]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A run that hangs nevertheless would keep the process.
        self.backend.release();
    }
}

fn settings() -> Settings {
    Settings { execution_threads: 1, ..Settings::default() }
}

fn limited() -> Safeguards {
    Safeguards { max_execution_time: Some(LIMIT), ..Safeguards::default() }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..5000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(MS).await;
    }
    panic!("not within five seconds: {what}");
}

fn assert_given_up(answer: Result<InferResponse, Fault>) {
    let fault = answer.unwrap_err();
    assert_eq!((fault.kind(), fault.retry()), (ErrorKind::Internal, Retry::Never));
    let expected = "model 'm': the execution took longer than 150 ms (max_execution_time) and was given up";
    assert_eq!(fault.client_message(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_can_be_stopped_is_stopped_and_its_instance_goes_on() {
    let server = Server::start(settings(), limited(), 1);
    let asked = Instant::now();
    let (hangs, behind) = (server.ask(STOPPABLE), server.ask(1));
    assert_given_up(hangs.await.unwrap());
    assert!(asked.elapsed() >= LIMIT, "{:?}", asked.elapsed());
    behind.await.unwrap().unwrap();
    assert!(server.is_ready());
    assert_eq!(
        (server.exceeded("interrupted"), server.exceeded("written_off"), server.stuck()),
        (1.0, 0.0, 0.0)
    );
    assert_eq!(server.backend.instances(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_batch_that_failed_has_a_time_of_its_own() {
    let server = Server::batching();
    // One after the other they take twice as long as a run may.
    let mut answers = server.ask_together(&[SLOW, SLOW, SLOW, SLOW, SLOW, FAIL]).await;
    let failed = answers.pop().unwrap().unwrap_err();
    assert_eq!(failed.client_message(), "model 'm': execution failed: told to fail");
    for answer in answers {
        assert_eq!(&answer.unwrap().outputs[0].tensor.data()[..], [SLOW]);
    }
    assert_eq!((server.exceeded("interrupted"), server.exceeded("written_off")), (0.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_fails_alone() {
    let server = Server::batching();
    let mut answers = server.ask_together(&[1, STOPPABLE, 2, 3]).await;
    assert_given_up(answers.remove(1));
    for (answer, value) in answers.into_iter().zip([1, 2, 3]) {
        assert_eq!(&answer.unwrap().outputs[0].tensor.data()[..], [value]);
    }
    assert_eq!(server.exceeded("interrupted"), 2.0, "its batch, and then it alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_batch_no_more_than_three_runs_are_stopped() {
    let server = Server::batching();
    let asked = Instant::now();
    for answer in server.ask_together(&[STOPPABLE; 8]).await {
        assert_given_up(answer);
    }
    assert!(asked.elapsed() < 6 * LIMIT, "{:?}", asked.elapsed());
    assert_eq!(server.exceeded("interrupted"), 3.0);
    server.answers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_every_run_is_stopped_turns_red() {
    let server = Server::start(settings(), limited(), 1);
    server.answers(1).await;
    server.backend.all_stop(true);
    assert_given_up(server.ask(1).await.unwrap());
    until("red", || !server.is_ready()).await;
    server.backend.all_stop(false);
    until("green", || server.is_ready()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_every_run_panics_turns_red_though_nobody_wanted_it_watched() {
    for settings in [
        settings(),
        Settings { inline_threshold: Duration::ZERO, ..settings() },
    ] {
        let server = Server::start(settings, Safeguards::default(), 1);
        server.answers(1).await;
        server.backend.all_panic(true);
        assert!(
            server.is_ready() && server.self_checks("ok") == 0.0,
            "it is not tried while nothing fails"
        );
        assert_eq!(
            server.ask(1).await.unwrap().unwrap_err().client_message(),
            "model 'm': the backend panicked"
        );
        until("red", || !server.is_ready()).await;
        server.backend.all_panic(false);
        until("green", || server.is_ready()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_a_run_fail_turns_no_model_red() {
    let server = Server::start(settings(), Safeguards::default(), 1);
    for _ in 0..3 {
        server.ask(FAIL).await.unwrap().unwrap_err();
    }
    tokio::time::sleep(50 * MS).await;
    assert!(server.is_ready());
    assert_eq!(
        (server.self_checks("ok"), server.self_checks("failed")),
        (0.0, 0.0),
        "its input is to blame"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_stop_is_written_off_and_replaced() {
    let server = Server::start(settings(), limited(), 1);
    let hangs = server.ask(HANG);
    tokio::time::sleep(20 * MS).await;
    // They wait behind it, for the only instance and the only thread.
    let behind = [server.ask(1), server.ask(2)];
    assert_given_up(hangs.await.unwrap());
    for asked in behind {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(
        (server.exceeded("interrupted"), server.exceeded("written_off"), server.stuck()),
        (1.0, 1.0, 1.0)
    );
    assert_eq!(server.backend.instances(), 2);
    until("ready again", || server.is_ready()).await;

    // It ends after all: its thread goes, its instance is dropped, and nobody gets its answer.
    server.backend.release();
    until("no thread is stuck", || server.stuck() == 0.0).await;
    for value in 20..40 {
        server.answers(value).await;
    }
    assert_eq!(server.metric("adulis_executing_batches{model=\"m\",version=\"1\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_red_until_the_model_answers_again() {
    let server = Server::start(settings(), limited(), 1);
    server.answers(1).await;
    assert!(server.is_ready() && server.engine().ready());
    server.backend.all_hang(true);
    assert_given_up(server.ask(1).await.unwrap());
    // The new instance hangs on the trial, too.
    until("red", || !server.is_ready()).await;
    assert!(!server.engine().ready());
    let index = server.engine().repository_index(&IndexQuery::default()).unwrap();
    assert_eq!(index[0].state, Some(ModelState::Unavailable));
    assert!(index[0].reason.contains("an execution did not end"), "{}", index[0].reason);
    assert_eq!(server.metric("adulis_model_ready{model=\"m\",version=\"1\"}"), 0.0);
    until("the trial was written off, too", || server.exceeded("written_off") >= 2.0).await;
    assert!(!server.is_ready());

    server.backend.all_hang(false);
    // Nobody asks it anything.
    until("green", || server.is_ready()).await;
    assert!(server.engine().ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn stuck_threads_are_bounded_and_a_model_that_hangs_more_answers_nothing() {
    let settings = Settings { max_stuck_threads: 1, execution_threads: 2, ..settings() };
    let server = Server::start(settings, limited(), 1);
    assert_given_up(server.ask(HANG).await.unwrap());
    until("replaced", || server.stuck() == 1.0).await;
    let second = server.ask(HANG);
    tokio::time::sleep(20 * MS).await;
    let waits = server.ask(1);
    assert_given_up(second.await.unwrap());
    let fault = waits.await.unwrap().unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault}");

    let asked = Instant::now();
    let fault = server.ask(1).await.unwrap().unwrap_err();
    assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
    assert_eq!(fault.kind(), ErrorKind::Unavailable);
    assert_eq!(fault.client_message(), "model 'm' is not ready: its executions do not end");
    assert_eq!(server.stuck(), 1.0);
    assert!(!server.is_ready());

    server.backend.release();
    until("green", || server.is_ready()).await;
    for value in 0..10 {
        server.answers(value).await;
    }
    until("no thread is stuck", || server.stuck() == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_nobody_asks_is_tried() {
    let safeguards = Safeguards { self_check_interval: Some(50 * MS), ..limited() };
    let server = Server::start(settings(), safeguards, 1);
    until("tried", || server.self_checks("ok") >= 2.0).await;
    assert!(server.is_ready());
    server.backend.all_hang(true);
    until("red", || !server.is_ready()).await;
    server.backend.all_hang(false);
    until("green", || server.is_ready()).await;
    assert_eq!(
        server.metric("adulis_inference_requests_total{model=\"m\",version=\"1\",outcome=\"ok\"}"),
        0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_leave_before_the_limit_leave_nothing_behind() {
    let server = Server::start(Settings { execution_threads: 2, ..settings() }, limited(), 2);
    assert!(tokio::time::timeout(30 * MS, server.ask(HANG)).await.is_err());
    // The task goes on; a caller that is dropped does not.
    let dropped = server.ask(HANG);
    tokio::time::sleep(30 * MS).await;
    dropped.abort();
    until("both are written off", || server.exceeded("written_off") == 2.0).await;
    server.answers(1).await;
    server.answers(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_engine_does_not_wait_for_what_hangs() {
    let mut server = Server::start(settings(), limited(), 1);
    let hangs = server.ask(HANG);
    tokio::time::sleep(20 * MS).await;
    let engine = server.engine.take().unwrap();
    // The request holds the engine until it is answered; it is the last.
    drop(engine);
    let closed = Instant::now();
    assert_given_up(hangs.await.unwrap());
    assert!(closed.elapsed() < 3 * Duration::from_secs(1), "{:?}", closed.elapsed());
}

/// Runs on the threads where requests arrive, as short ones are.
fn inline() -> Settings {
    Settings { inline_threshold: Duration::from_secs(1), ..settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_run_that_hangs_on_an_io_thread_turns_its_model_red_and_is_the_last_one_there() {
    let server = Server::start(inline(), Safeguards::default(), 2);
    server.answers(1).await;
    assert!(!server.backend.was_queued());
    let hangs = server.ask(HANG);
    until("red", || !server.is_ready()).await;
    let index = server.engine().repository_index(&IndexQuery::default()).unwrap();
    assert_eq!(&*index[0].reason, "an execution does not end");
    server.answers(2).await;
    assert!(server.backend.was_queued());

    server.backend.release();
    hangs.await.unwrap().unwrap();
    assert!(server.is_ready());
    server.answers(3).await;
    assert!(server.backend.was_queued());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn where_all_instances_hang_on_io_threads_nobody_waits_for_one() {
    let server = Server::start(inline(), Safeguards::default(), 1);
    let hangs = server.ask(HANG);
    tokio::time::sleep(20 * MS).await;
    let waits = server.ask(1);
    let refused = |answer: Result<InferResponse, Fault>| {
        let fault = answer.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault}");
        assert_eq!(fault.client_message(), "model 'm' is not ready: its executions do not end");
    };
    refused(waits.await.unwrap());
    refused(server.ask(1).await.unwrap());
    server.backend.release();
    hangs.await.unwrap().unwrap();
    assert!(server.is_ready());
    server.answers(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_run_on_an_io_thread_that_can_be_stopped_is() {
    let server = Server::start(inline(), Safeguards::default(), 1);
    let fault = server.ask(STOPPABLE).await.unwrap().unwrap_err();
    assert_eq!(fault.client_message(), "model 'm': execution failed: the run was interrupted");
    assert!(server.is_ready());
    server.answers(1).await;
}

#[test]
fn limits_that_cannot_be_kept_fail_the_load() {
    let mut config = ModelConfig { decoupled: true, safeguards: limited(), ..ModelConfig::derived("m") };
    let told = adulis_engine::check_supported(&config).unwrap_err().to_string();
    assert_eq!(told, "parameters.max_execution_time: is not built yet for sequences and decoupled models");
    config.decoupled = false;
    adulis_engine::check_supported(&config).unwrap();
}
