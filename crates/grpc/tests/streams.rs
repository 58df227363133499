//! `ModelStreamInfer` over a scripted service.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use adulis_grpc::GrpcOptions;
use support::{Server, default_server, message};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

#[tokio::test]
async fn a_stream_answers_as_results_come_and_survives_errors() {
    let server = default_server();
    let mut client = server.client().await;
    let requests = ["late", "nobody", "panic", "echo"].map(|model| message(model, model, &[1.0]));
    let mut answers = client.model_stream_infer(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        seen.push((answer.infer_response.unwrap().id, answer.error_message));
    }
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[3], ("late".to_owned(), String::new()), "the slowest comes last");
    let error = |id: &str| seen.iter().find(|(seen, _)| seen == id).unwrap().1.clone();
    assert!(error("nobody").contains("unknown model"));
    assert_eq!(error("panic"), "internal error");
    assert_eq!(error("echo"), "");
}

#[tokio::test]
async fn a_stream_ends_with_an_error_where_that_is_asked_for() {
    let server = default_server();
    let mut client = server.client().await;
    let (_sender, receiver) = {
        let (sender, receiver) = mpsc::channel(4);
        sender.send(message("nobody", "", &[1.0])).await.unwrap();
        (sender, receiver)
    };
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.metadata_mut().insert("triton_grpc_error", "true".parse().unwrap());
    let mut answers = client.model_stream_infer(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_stream_is_bounded_and_cancelled_as_a_whole() {
    let server = Server::start(GrpcOptions { max_stream_requests: 3, ..GrpcOptions::default() });
    let mut client = server.client().await;
    let requests = vec![message("slow", "", &[1.0]); 10];
    let answers = client.model_stream_infer(tokio_stream::iter(requests)).await.unwrap();
    server.service.calls.wait_started(3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.service.calls.started.load(Ordering::SeqCst), 3);
    drop(answers);
    server.service.calls.wait_cancelled(3).await;
}
