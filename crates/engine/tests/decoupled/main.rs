//! Models that answer any number of times: answers, ends, clients that go away or do not read, faults of backends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backend;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use adulis_backend::built_in;
use adulis_engine::{Engine, Settings};
use adulis_repository::{ModelConfig, ModelEntry, ModelVersion};
use adulis_telemetry::MetricRegistry;
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{
    ErrorKind, InferRequest, InferResponse, InferenceService, InputTensor, ModelRef, ModelStatistics,
    ParameterValue, ResponseStream,
};
use backend::{Burst, FAIL, LET_GO, ONE_BY_ONE, PANIC, WITH_LAST};

fn entry(name: &str, backend: &str, decoupled: bool) -> ModelEntry {
    let config = ModelConfig { backend: Some(backend.to_owned()), decoupled, ..ModelConfig::derived(name) };
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    ModelEntry { name: name.to_owned(), config, versions, directory: None }
}

fn start() -> (Arc<Engine>, Burst) {
    let burst = Burst::default();
    let mut backends = built_in();
    backends.push(Arc::new(burst.clone()));
    let settings = Settings { execution_threads: 1, ..Settings::default() };
    let engine = Engine::new(settings, backends, &MetricRegistry::default()).unwrap();
    engine.load(&[
        entry("burst", "burst", true),
        entry("repeat", "repeat", true),
        entry("undeclared", "repeat", false),
        entry("identity", "identity", true),
        entry("ordinary", "identity", false),
    ]);
    (engine, burst)
}

fn tensor(datatype: DataType, words: &[u32]) -> Tensor {
    let data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Tensor::new(datatype, Shape::new(&[words.len()]), data.into()).unwrap()
}

/// Asks `burst` for `count` answers in one of its ways.
fn burst(way: u32, count: u32) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest("burst"));
    request.id = "me".into();
    let tensor = tensor(DataType::Uint32, &[way, count]);
    request.inputs.push(InputTensor { name: "IN".into(), tensor });
    request
}

async fn next(stream: &mut ResponseStream<'_>) -> Option<Result<InferResponse, adulis_types::Fault>> {
    std::future::poll_fn(|context| Pin::as_mut(stream).poll_next(context)).await
}

/// The first word of every answer, how it ended, and whether the last answer was known to be the last.
async fn collect(engine: &Engine, request: InferRequest) -> (Vec<u32>, Result<(), String>, bool) {
    let mut stream = engine.infer_stream(request);
    let (mut words, mut is_last) = (Vec::new(), false);
    while let Some(item) = next(&mut stream).await {
        match item {
            Ok(answer) => {
                assert_eq!((&*answer.id, answer.model_version), ("me", 1));
                words.push(u32::from_le_bytes(answer.outputs[0].tensor.data()[..4].try_into().unwrap()));
                is_last = stream.size_hint() == (0, Some(0));
            }
            Err(fault) => return (words, Err(fault.client_message().into_owned()), is_last),
        }
    }
    (words, Ok(()), is_last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_any_number_of_times() {
    let (engine, _) = start();
    assert!(engine.decoupled(&ModelRef::latest("burst")) && !engine.decoupled(&ModelRef::latest("ordinary")));
    assert_eq!(collect(&engine, burst(ONE_BY_ONE, 0)).await, (vec![], Ok(()), false));
    assert_eq!(collect(&engine, burst(ONE_BY_ONE, 3)).await, (vec![0, 1, 2], Ok(()), false));
    assert_eq!(collect(&engine, burst(WITH_LAST, 3)).await, (vec![0, 1, 2], Ok(()), true));
    // Far more than the engine holds.
    let (words, end, _) = collect(&engine, burst(ONE_BY_ONE, 500)).await;
    assert_eq!((words, end), ((0..500).collect(), Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_backend_end_the_request_and_the_next_is_answered() {
    let (engine, _) = start();
    for (way, message) in [
        (FAIL, "model 'burst': execution failed: asked to fail"),
        (
            LET_GO,
            "model 'burst': execution failed: the backend let go of the request without an end",
        ),
        (PANIC, "model 'burst': the backend panicked"),
        (99, "model 'burst': execution failed: no such way"),
        (100, "model 'burst': no such way"),
    ] {
        let (words, end, _) = collect(&engine, burst(way, 2)).await;
        assert_eq!((words.len(), end), (if way >= 99 { 0 } else { 2 }, Err(message.to_owned())), "{way}");
    }
    assert_eq!(collect(&engine, burst(ONE_BY_ONE, 1)).await.0, [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_the_model_and_nobody_else() {
    let (engine, burst_backend) = start();
    let mut slow = engine.infer_stream(burst(ONE_BY_ONE, 1000));
    next(&mut slow).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sent = burst_backend.sent.load(Ordering::SeqCst);
    assert!(sent < 30, "{sent} answers were made for a client that took one");

    // There is one execution thread, and it is free.
    let mut request = InferRequest::new(ModelRef::latest("ordinary"));
    let data = vec![0; 64].into();
    let tensor = Tensor::new(DataType::Fp32, Shape::new(&[1, 16]), data).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    tokio::time::timeout(Duration::from_secs(2), engine.infer(request))
        .await
        .unwrap()
        .unwrap();

    let mut rest = 0;
    while next(&mut slow).await.transpose().unwrap().is_some() {
        rest += 1;
    }
    assert_eq!(rest, 999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_is_seen_by_the_backend() {
    let (engine, burst_backend) = start();
    let mut stream = engine.infer_stream(burst(ONE_BY_ONE, 1000));
    next(&mut stream).await.unwrap().unwrap();
    drop(stream);
    for _ in 0..400 {
        if burst_backend.gone.load(Ordering::SeqCst) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(burst_backend.gone.load(Ordering::SeqCst), 1);
    assert_eq!(engine.requests_in_flight(), 0);
    let statistics = engine.statistics(Some(&ModelRef::latest("burst"))).unwrap();
    assert_eq!((statistics[0].inference.success.count, statistics[0].inference.fail.count), (0, 1));
    let cancelled: u64 = statistics[0].responses.values().map(|response| response.cancel.count).sum();
    assert_eq!(cancelled, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_cannot_be_asked_of_them() {
    let (engine, _) = start();
    for model in ["burst", "identity"] {
        let request = InferRequest::new(ModelRef::latest(model));
        let fault = engine.infer(request).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Unsupported);
        let message = fault.client_message().into_owned();
        assert!(
            message.contains(model)
                && message.contains("doesn't support models with decoupled transaction policy"),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_answers_once_may_be_served_as_decoupled() {
    let (engine, _) = start();
    let mut request = InferRequest::new(ModelRef::latest("identity"));
    request.id = "me".into();
    let tensor = Tensor::new(DataType::Fp32, Shape::new(&[1, 16]), vec![0; 64].into()).unwrap();
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor });
    assert_eq!(collect(&engine, request).await, (vec![0], Ok(()), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_answers_often_must_say_so() {
    let (engine, _) = start();
    let fault = engine.model_metadata(&ModelRef::latest("undeclared")).unwrap_err();
    let message = fault.client_message().into_owned();
    assert!(
        message.contains("model_transaction_policy.decoupled: models of backend 'repeat'"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_hold_over_all_answers() {
    let (engine, _) = start();
    let mut request = InferRequest::new(ModelRef::latest("repeat"));
    request.id = "me".into();
    request.limit_timeout(Duration::from_millis(150));
    for (name, datatype, words) in [
        ("IN", DataType::Int32, &[5, 6, 7][..]),
        ("DELAY", DataType::Uint32, &[1, 60_000, 1]),
        ("WAIT", DataType::Uint32, &[0]),
    ] {
        request.inputs.push(InputTensor { name: name.into(), tensor: tensor(datatype, words) });
    }
    let started = Instant::now();
    let (words, end, _) = collect(&engine, request).await;
    assert_eq!(words, [5]);
    assert!(end.unwrap_err().contains("deadline exceeded"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_their_answers_are_counted() {
    let (engine, _) = start();
    collect(&engine, burst(ONE_BY_ONE, 2)).await.1.unwrap();
    collect(&engine, burst(WITH_LAST, 1)).await.1.unwrap();
    collect(&engine, burst(FAIL, 1)).await.1.unwrap_err();
    let statistics = || engine.statistics(Some(&ModelRef::latest("burst"))).unwrap().remove(0);
    let counted = statistics();
    assert_eq!((counted.inference_count, counted.inference.success.count), (2, 2));
    assert_eq!(counted.inference.fail.count, 1);
    // Of three first answers; a second one and a failure; an end behind two. A client may have its answer before it is counted.
    let expected = [[3, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0]];
    for _ in 0..400 {
        if positions(&statistics()) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(positions(&statistics()), expected);
}

/// How many answers, ends, failures and cancellations there were at each position.
fn positions(statistics: &ModelStatistics) -> Vec<[u64; 4]> {
    let counts = statistics.responses.values().map(|response| {
        let counted = [
            response.success,
            response.empty_response,
            response.fail,
            response.cancel,
        ];
        counted.map(|statistic| statistic.count)
    });
    counts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_go_in_and_come_back() {
    let (engine, _) = start();
    let mut request = burst(WITH_LAST, 1);
    request.parameters.set("temperature", ParameterValue::Double(0.5));
    let mut stream = engine.infer_stream(request);
    let answer = next(&mut stream).await.unwrap().unwrap();
    assert_eq!(answer.parameters.get("temperature"), Some(&ParameterValue::Double(0.5)));
    assert_eq!(answer.parameters.get("request"), Some(&ParameterValue::String("me".into())));
}
