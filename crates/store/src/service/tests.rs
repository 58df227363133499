use std::sync::atomic::Ordering;

use adulis_telemetry::{InferenceLogMetrics, MetricRegistry};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_testing::ScriptedService;
use adulis_types::{IndexQuery, InputTensor, LoadModel, UnloadModel};
use futures_util::StreamExt;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::queue::Queued;
use crate::record::Content;

/// A service with a log of which nothing is written.
fn recording(
    models: &[(&str, LogPolicy)],
) -> (Arc<dyn InferenceService>, Receiver<Queued>, Arc<ScriptedService>) {
    let models = models.iter().map(|(name, policy)| ((*name).to_owned(), policy.clone()));
    let policies = LogPolicies { models: models.collect(), ..LogPolicies::default() };
    let metrics = InferenceLogMetrics::register(&MetricRegistry::default());
    let (queue, receiver) = Queue::new(100, 1 << 20, metrics);
    let inner = Arc::new(ScriptedService::default());
    let log = Log { policies: Arc::new(policies), queue };
    (Arc::new(Recording::new(Arc::clone(&inner) as _, None, Some(log))), receiver, inner)
}

fn all() -> LogPolicy {
    LogPolicy { sample_rate: 1.0, ..LogPolicy::default() }
}

fn request(model: &str, rows: usize) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest(model));
    request.id = "mine".into();
    let tensor = Tensor::new(DataType::Uint8, Shape::new(&[rows]), vec![5; rows].into()).unwrap();
    request.inputs.push(InputTensor { name: "x".into(), tensor });
    request
}

fn next(receiver: &mut Receiver<Queued>) -> Record {
    receiver.try_recv().expect("a record is there").record
}

#[tokio::test]
async fn an_answer_is_logged_with_its_request() {
    let (service, mut receiver, inner) = recording(&[("echo", all()), ("fail-overloaded", all())]);
    let asked = request("echo", 3);
    let id = asked.request_id.to_string();
    let response = service.infer(asked).await.unwrap();
    let record = next(&mut receiver);
    assert_eq!((record.request_id.to_string(), &*record.client_id, record.outcome), (id, "mine", "ok"));
    assert_eq!((&*record.model, record.version, record.answer), ("echo", Some(1), 0));
    let [output] = &record.outputs[..] else {
        panic!("{record:?}")
    };
    let Content::Data(data) = &output.content else {
        panic!("{record:?}")
    };
    assert_eq!(data.as_ptr(), response.outputs[0].tensor.data().as_ptr(), "nothing is copied");
    assert_eq!(record.inputs.len(), 1);

    service.infer(request("fail-overloaded", 1)).await.unwrap_err();
    let record = next(&mut receiver);
    assert_eq!((record.outcome, record.outputs.len(), record.inputs.len()), ("overloaded", 0, 1));
    assert!(record.message.is_some());
    assert_eq!(inner.calls.finished.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn models_that_are_not_logged_leave_nothing() {
    let (service, mut receiver, _) = recording(&[("other", all())]);
    service.infer(request("echo", 3)).await.unwrap();
    service.infer(request("nonsense", 3)).await.unwrap_err();
    assert!(receiver.try_recv().is_err());
}

#[tokio::test]
async fn each_answer_of_a_stream_is_logged_and_the_inputs_once() {
    let (service, mut receiver, _) = recording(&[("each", all()), ("each-fails", all()), ("echo", all())]);
    let outcomes: Vec<_> = service.infer_stream(request("each-fails", 2)).collect().await;
    assert_eq!(outcomes.len(), 3);
    for (answer, outcome) in [(0, "ok"), (1, "ok"), (2, "internal")] {
        let record = next(&mut receiver);
        assert_eq!((record.answer, record.inputs.len()), (answer, usize::from(answer == 0)));
        assert_eq!(record.outcome == "ok", outcome == "ok", "{record:?}");
    }
    // Clients are told which answer is the last by what is left.
    let mut answers = service.infer_stream(request("echo", 1));
    assert_eq!(answers.size_hint(), (1, Some(1)));
    answers.next().await.unwrap().unwrap();
    assert_eq!(answers.size_hint(), (0, Some(0)));
}

#[tokio::test]
async fn inputs_and_outputs_share_one_budget() {
    let policy = LogPolicy { max_payload_bytes: 5, ..all() };
    let (service, mut receiver, _) = recording(&[("echo", policy)]);
    service.infer(request("echo", 3)).await.unwrap();
    let record = next(&mut receiver);
    assert!(matches!(record.inputs[0].content, Content::Data(_)));
    assert!(matches!(record.outputs[0].content, Content::Omitted(3)));
}

#[tokio::test]
async fn everything_else_is_the_other_service_s() {
    let (service, _receiver, inner) = recording(&[]);
    inner.unready.store(true, Ordering::Relaxed);
    assert!(!service.ready() && service.live());
    let echo = ModelRef::latest("echo");
    assert_eq!(service.model_ready(&echo).unwrap(), inner.model_ready(&echo).unwrap());
    assert_eq!(service.model_metadata(&echo).unwrap(), inner.model_metadata(&echo).unwrap());
    assert_eq!(service.server_metadata(), inner.server_metadata());
    let each = ModelRef::latest("each");
    assert!(service.decoupled(&each) && !service.decoupled(&echo));
    assert_eq!(
        service.repository_index(&IndexQuery::default()).is_ok(),
        inner.repository_index(&IndexQuery::default()).is_ok()
    );
    assert_eq!(service.statistics(None).is_ok(), inner.statistics(None).is_ok());
    assert_eq!(service.model_config(&echo).is_ok(), inner.model_config(&echo).is_ok());
    service
        .load_model(LoadModel { name: "echo".into(), ..LoadModel::default() })
        .await
        .unwrap();
    service
        .unload_model(UnloadModel { name: "echo".into(), ..UnloadModel::default() })
        .await
        .unwrap();
    assert_eq!((inner.loads.lock().len(), inner.unloads.lock().len()), (1, 1));
}
