use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::{ErrorKind, Failure, one_response};

/// Answers everything otherwise than the trait's defaults do: with the name of what was asked.
struct Told;

fn told<T>(name: &str) -> Result<T, Fault> {
    Err(Failure::new(ErrorKind::Internal, name.to_owned()).into())
}

impl InferenceService for Told {
    fn infer(&self, _: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        Box::pin(ready(told("infer")))
    }

    fn infer_stream(&self, _: InferRequest) -> ResponseStream<'_> {
        one_response(Box::pin(ready(told("infer_stream"))))
    }

    fn decoupled(&self, _: &ModelRef) -> bool {
        true
    }

    fn batches(&self, _: &ModelRef) -> bool {
        true
    }

    fn live(&self) -> bool {
        false
    }

    fn ready(&self) -> bool {
        true
    }

    fn model_ready(&self, _: &ModelRef) -> Result<bool, Fault> {
        told("model_ready")
    }

    fn server_metadata(&self) -> ServerMetadata {
        ServerMetadata { name: "told".into(), version: "1".into(), extensions: Vec::new() }
    }

    fn model_metadata(&self, _: &ModelRef) -> Result<ModelMetadata, Fault> {
        told("model_metadata")
    }

    fn model_config(&self, _: &ModelRef) -> Result<ModelConfigDocument, Fault> {
        told("model_config")
    }

    fn statistics(&self, _: Option<&ModelRef>) -> Result<Vec<ModelStatistics>, Fault> {
        told("statistics")
    }

    fn repository_index(&self, _: &IndexQuery) -> Result<Vec<IndexEntry>, Fault> {
        told("repository_index")
    }

    fn load_model(&self, _: LoadModel) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(ready(told("load_model")))
    }

    fn unload_model(&self, _: UnloadModel) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(ready(told("unload_model")))
    }
}

/// Answers for itself only what is asked of its statistics.
struct Around(Arc<dyn InferenceService>);

impl DelegatingService for Around {
    fn inner(&self) -> &dyn InferenceService {
        &*self.0
    }

    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        self.0.infer(request)
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        self.0.infer_stream(request)
    }

    fn statistics(&self, _: Option<&ModelRef>) -> Result<Vec<ModelStatistics>, Fault> {
        told("its own statistics")
    }
}

fn at_once<T>(mut future: BoxFuture<'_, T>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("not at once"),
    }
}

fn said<T>(outcome: Result<T, Fault>) -> String {
    outcome.err().unwrap().client_message().into_owned()
}

#[test]
fn what_is_not_answered_the_one_within_answers() {
    let around: Arc<dyn InferenceService> = Arc::new(Around(Arc::new(Around(Arc::new(Told)))));
    let model = ModelRef::latest("m");
    let request = || InferRequest::new(model.clone());
    let load = LoadModel { name: "m".into(), ..LoadModel::default() };
    let unload = UnloadModel { name: "m".into(), ..UnloadModel::default() };
    assert!(around.decoupled(&model) && around.batches(&model) && !around.live() && around.ready());
    assert_eq!(&*around.server_metadata().name, "told");
    for (name, answer) in [
        ("infer", said(at_once(around.infer(request())))),
        ("model_ready", said(around.model_ready(&model))),
        ("model_metadata", said(around.model_metadata(&model))),
        ("model_config", said(around.model_config(&model))),
        ("its own statistics", said(around.statistics(None))),
        ("repository_index", said(around.repository_index(&IndexQuery::default()))),
        ("load_model", said(at_once(around.load_model(load)))),
        ("unload_model", said(at_once(around.unload_model(unload)))),
    ] {
        assert_eq!(answer, name);
    }
    let mut answers = around.infer_stream(request());
    match answers.as_mut().poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(answer)) => assert_eq!(said(answer), "infer_stream"),
        _ => panic!("no answer"),
    }
}
