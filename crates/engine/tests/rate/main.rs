//! The rate limiter: models that share resources run when there are enough, in turns, and give them back however a run ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backend;
#[path = "../support/mod.rs"]
mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adulis_engine::{Engine, RateLimit, ResourceLimit, Settings};
use adulis_repository::{
    InstanceGroup, ModelConfig, ModelEntry, ModelVersion, RateLimiter, Resource, Scheduling, SequenceBatching,
};
use adulis_telemetry::MetricRegistry;
use adulis_types::{IndexQuery, InferRequest, InferenceService, ModelRef, Sequence, SequenceId};
use backend::{FAIL, HOLD, Meter, PANIC};
use futures_util::future::join_all;
use support::byte_request;

/// A model with two instances, each of whose runs takes so many units.
fn entry(name: &str, needs: &[(&str, u32)], priority: u32) -> ModelEntry {
    let resource =
        |(name, count): &(&str, u32)| Resource { name: (*name).to_owned(), global: true, count: *count };
    let limiter = RateLimiter { resources: needs.iter().map(resource).collect(), priority };
    let config = ModelConfig {
        backend: Some("meter".to_owned()),
        max_batch_size: Some(1),
        instance_group: vec![InstanceGroup {
            count: 2,
            rate_limiter: Some(limiter),
            ..InstanceGroup::default()
        }],
        decoupled: name.starts_with("decoupled"),
        ..ModelConfig::derived(name)
    };
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    ModelEntry { name: name.to_owned(), config, versions, directory: None }
}

fn engine(limit: RateLimit, entries: &[ModelEntry]) -> (Arc<Engine>, Meter) {
    let meter = Meter::default();
    let settings = Settings { execution_threads: 4, rate_limit: limit, ..Settings::default() };
    let engine = Engine::new(settings, vec![Arc::new(meter.clone())], &MetricRegistry::default()).unwrap();
    engine.load(entries);
    (engine, meter)
}

/// As many units as the most that a run needs.
fn derived() -> RateLimit {
    RateLimit::ExecutionCount(Vec::new())
}

fn request(model: &str, byte: u8) -> InferRequest {
    byte_request(ModelRef::latest(model), &[byte])
}

/// Asks for one answer, however the model gives it.
async fn ask(engine: &Engine, request: InferRequest) -> Result<u8, String> {
    let answer = if engine.decoupled(&request.model) {
        let mut stream = engine.infer_stream(request);
        let next = std::future::poll_fn(|context| Pin::as_mut(&mut stream).poll_next(context));
        next.await.unwrap()
    } else {
        engine.infer(request).await
    };
    answer
        .map(|answer| answer.outputs[0].tensor.data()[0])
        .map_err(|fault| fault.client_message().into_owned())
}

/// Asks each model so often at once, in tasks of their own; all must answer within a while.
async fn ask_all(engine: &Arc<Engine>, models: &[&str], count: u8) {
    let requests = (1..=count).flat_map(|byte| models.iter().map(move |model| request(model, byte)));
    let tasks = requests.map(|request| {
        let engine = Arc::clone(engine);
        tokio::spawn(async move { ask(&engine, request).await })
    });
    let answers = tokio::time::timeout(Duration::from_secs(30), join_all(tasks)).await.unwrap();
    assert_eq!(answers.len(), models.len() * usize::from(count));
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().is_ok()), "{answers:?}");
}

/// Why a model was not loaded.
fn reason(engine: &Engine, name: &str) -> String {
    let index = engine.repository_index(&IndexQuery::default());
    index.unwrap().into_iter().find(|line| &*line.name == name).unwrap().reason.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn models_that_share_one_unit_never_run_at_once() {
    let (engine, meter) = engine(derived(), &[entry("a", &[("R", 1)], 1), entry("b", &[("R", 1)], 1)]);
    ask_all(&engine, &["a", "b"], 15).await;
    assert_eq!((meter.most(), meter.order().len()), (1, 30));
    ask_all(&engine, &["a"], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_it_is_off_they_do() {
    let (engine, meter) = engine(RateLimit::Off, &[entry("a", &[("R", 1)], 1), entry("b", &[("R", 1)], 1)]);
    ask_all(&engine, &["a", "b"], 15).await;
    assert!(meter.most() > 1);
}

#[tokio::test]
async fn what_needs_nothing_or_something_else_does_not_wait() {
    let entries = [
        entry("a", &[("R", 1)], 1),
        entry("b", &[("S", 1)], 1),
        entry("free", &[], 1),
    ];
    let (engine, meter) = engine(derived(), &entries);
    ask_all(&engine, &["a", "b"], 15).await;
    assert_eq!(meter.most(), 2, "each one at a time");
    ask_all(&engine, &["a", "b", "free"], 15).await;
    assert!(meter.most() > 2, "two instances of the free one");
}

#[tokio::test]
async fn there_are_as_many_units_as_is_said() {
    let limits = vec![ResourceLimit { name: "R".into(), count: 3, device: None }];
    let entries = [entry("a", &[("R", 1)], 1), entry("b", &[("R", 1)], 1)];
    let (engine, meter) = engine(RateLimit::ExecutionCount(limits), &entries);
    ask_all(&engine, &["a", "b"], 15).await;
    assert_eq!(meter.most(), 3);
}

#[tokio::test]
async fn turns_follow_priorities() {
    let entries = [
        entry("often", &[("R", 1)], 1),
        entry("seldom", &[("R", 1)], 3),
        entry("first", &[("R", 1)], 1),
    ];
    let (engine, meter) = engine(derived(), &entries);
    // Everybody else waits behind this one.
    let holder = Arc::clone(&engine);
    tokio::spawn(async move { ask(&holder, request("first", HOLD)).await });
    while meter.order().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ask_all(&engine, &["seldom", "often"], 24).await;
    let order = meter.order();
    assert_eq!(order.len(), 49);
    let often = order[1..25].iter().filter(|name| &***name == "often").count();
    assert!((17..=19).contains(&often), "3 of 4 turns: {order:?}");
    assert_eq!(meter.most(), 1);
}

#[tokio::test]
async fn faults_and_panics_give_back() {
    let entries = [entry("a", &[("R", 1)], 1), entry("decoupled", &[("R", 1)], 1)];
    let (engine, meter) = engine(derived(), &entries);
    for model in ["a", "decoupled"] {
        for (byte, message) in [
            (FAIL, "execution failed: asked to fail"),
            (PANIC, "the backend panicked"),
        ] {
            let told = ask(&engine, request(model, byte)).await.unwrap_err();
            assert_eq!(told, format!("model '{model}': {message}"));
            ask_all(&engine, &["a", "decoupled"], 3).await;
        }
    }
    assert_eq!(meter.most(), 1);
}

#[tokio::test]
async fn who_goes_while_waiting_leaves_the_resource_to_others() {
    let (engine, meter) = engine(derived(), &[entry("a", &[("R", 1)], 1), entry("b", &[("R", 1)], 1)]);
    let first = ask(&engine, request("a", 1));
    let impatient = join_all(
        (0..8).map(|_| tokio::time::timeout(Duration::from_millis(1), ask(&engine, request("b", 2)))),
    );
    let (first, impatient) = futures_util::future::join(first, impatient).await;
    assert_eq!(first, Ok(1));
    assert!(impatient.iter().any(Result::is_err));
    ask_all(&engine, &["a"], 5).await;
    assert_eq!(meter.most(), 1);
}

#[tokio::test]
async fn decoupled_runs_and_sequences_wait_too() {
    let mut sequences = entry("sequences", &[("R", 1)], 1);
    sequences.config.scheduling = Scheduling::Sequence(SequenceBatching::default());
    let entries = [
        sequences,
        entry("decoupled", &[("R", 1)], 1),
        entry("a", &[("R", 1)], 1),
    ];
    let (engine, meter) = engine(derived(), &entries);
    let in_sequences = join_all((1..=12).map(|id: u8| {
        let mut request = request("sequences", id);
        let id = SequenceId::Number(u64::from(id));
        request.sequence = Some(Sequence { id, start: true, end: true });
        ask(&engine, request)
    }));
    let others = ask_all(&engine, &["decoupled", "a"], 8);
    let (answers, ()) = futures_util::future::join(in_sequences, others).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!((meter.most(), meter.order().len()), (1, 28));
}

#[test]
fn more_than_there_is_fails_the_load() {
    let limits = vec![ResourceLimit { name: "R".into(), count: 3, device: None }];
    let entries = [
        entry("most", &[("R", 3)], 1),
        entry("more", &[("R", 4)], 1),
        entry("other", &[("S", 1)], 1),
    ];
    let (engine, _) = engine(RateLimit::ExecutionCount(limits), &entries);
    let key = "instance_group.rate_limiter.resources: needs";
    assert_eq!(reason(&engine, "most"), "");
    assert!(
        reason(&engine, "more").contains(&format!("{key} 4 units of resource 'R', of which there are 3"))
    );
    assert!(
        reason(&engine, "other").contains(&format!("{key} 1 units of resource 'S', of which there are 0"))
    );
    let mut device = entry("device", &[("R", 1)], 1);
    for limiter in device.config.instance_group[0].rate_limiter.iter_mut() {
        limiter.resources[0].global = false;
    }
    let (engine, _) = self::engine(derived(), &[entry("machine", &[("R", 1)], 1), device]);
    let told = [reason(&engine, "machine"), reason(&engine, "device")].concat();
    assert!(told.contains("resource 'R' is global in one model and not in another"), "{told}");
}

#[tokio::test]
async fn a_model_that_goes_leaves_no_resource_behind() {
    let (engine, meter) = engine(derived(), &[entry("a", &[("R", 1)], 1)]);
    for round in 0..5 {
        let asked = ask_all(&engine, &["a"], 3);
        let load = async { engine.load(&[entry("a", &[("R", 1)], 1), entry("b", &[("R", 1)], 1)]) };
        futures_util::future::join(asked, load).await;
        ask_all(&engine, &["a", "b"], 3).await;
        assert_eq!(meter.most(), 1, "{round}");
    }
}
