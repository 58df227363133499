//! `ModelStreamInfer` over a scripted service.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use adulis_grpc::GrpcOptions;
use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::{InferParameter, ModelInferRequest, ModelInferResponse};
use bytes::Bytes;
use support::{Server, default_server, message};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

type Seen = (String, String, Option<bool>);

/// Id, error and final flag of every answer to these requests.
async fn ask(requests: Vec<ModelInferRequest>) -> Vec<Seen> {
    let server = default_server();
    let mut client = server.client().await;
    let mut answers = client.model_stream_infer(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let response = answer.infer_response.unwrap();
        seen.push((response.id.clone(), answer.error_message, final_flag(&response)));
    }
    seen
}

fn final_flag(response: &ModelInferResponse) -> Option<bool> {
    let parameter = response.parameters.get("triton_final_response")?;
    match parameter.parameter_choice {
        Some(ParameterChoice::BoolParam(flag)) => Some(flag),
        _ => None,
    }
}

#[tokio::test]
async fn ordinary_models_answer_in_the_order_of_their_requests_and_errors_leave_the_stream_open() {
    let requests = ["late", "nobody", "panic", "echo"].map(|model| message(model, model, &[1.0]));
    let seen = ask(requests.into()).await;
    let ids: Vec<&str> = seen.iter().map(|(id, ..)| &**id).collect();
    assert_eq!(ids, ["late", "nobody", "panic", "echo"], "the slowest comes first, as it was asked first");
    assert!(seen[1].1.contains("unknown model"));
    assert_eq!(seen[2].1, "internal error");
    assert_eq!((&*seen[0].1, &*seen[3].1), ("", ""));
    assert!(seen.iter().all(|(.., last)| *last == Some(true)), "{seen:?}");
}

/// Three rows for `each`, which answers each by itself.
fn rows(model: &str, id: &str) -> ModelInferRequest {
    let mut message = message(model, id, &[1.0, 2.0, 3.0]);
    message.inputs[0].shape = vec![3, 1];
    message
}

fn telling_the_end(mut message: ModelInferRequest) -> ModelInferRequest {
    let choice = Some(ParameterChoice::BoolParam(true));
    let parameter = InferParameter { parameter_choice: choice };
    message.parameters.insert("triton_enable_empty_final_response".to_owned(), parameter);
    message
}

#[tokio::test]
async fn a_decoupled_model_answers_any_number_of_times_and_does_not_wait_for_others() {
    let none = || {
        let mut none = rows("each", "none");
        none.inputs[0].shape = vec![0, 1];
        none.raw_input_contents = vec![Bytes::new()];
        none
    };
    let requests = vec![
        message("late", "late", &[1.0]),
        rows("each", "each"),
        rows("each-fails", "fails"),
        telling_the_end(rows("each", "told")),
        none(),
        telling_the_end(none()),
    ];
    let seen = ask(requests).await;
    assert_eq!(seen.last().unwrap().0, "late", "{seen:?}");
    let flags = |id: &str| -> Vec<Option<bool>> {
        seen.iter().filter(|(seen, ..)| seen == id).map(|(.., last)| *last).collect()
    };
    let (no, yes) = (Some(false), Some(true));
    assert_eq!(flags("each"), [no, no, no]);
    assert_eq!(flags("told"), [no, no, no, yes]);
    assert_eq!(flags("fails"), [no, no, no, yes]);
    assert_eq!(flags("none"), [yes], "only one of the two is told of the end");
    let errors: Vec<&Seen> = seen.iter().filter(|(_, error, _)| !error.is_empty()).collect();
    assert_eq!(errors.iter().map(|(id, ..)| &**id).collect::<Vec<_>>(), ["fails"]);
}

#[tokio::test]
async fn an_empty_final_response_names_the_request_and_nothing_else() {
    let server = default_server();
    let mut client = server.client().await;
    let requests = vec![telling_the_end(rows("each", "abc"))];
    let answers = client.model_stream_infer(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().infer_response.unwrap()).collect().await;
    assert_eq!(answers.len(), 4);
    let end = &answers[3];
    assert_eq!((&*end.id, &*end.model_name, &*end.model_version), ("abc", "each", ""));
    assert!(end.outputs.is_empty() && end.raw_output_contents.is_empty());
    assert_eq!(end.parameters.len(), 1);
    assert!(answers[..3].iter().all(|answer| answer.outputs.len() == 1));
}

#[tokio::test]
async fn reserved_parameters_are_refused_by_name() {
    let mut unknown = message("echo", "unknown", &[1.0]);
    let value = |choice| InferParameter { parameter_choice: Some(choice) };
    unknown.parameters.insert("triton_what".to_owned(), value(ParameterChoice::Int64Param(1)));
    let mut wrong = message("echo", "wrong", &[1.0]);
    let name = "triton_enable_empty_final_response".to_owned();
    wrong.parameters.insert(name.clone(), value(ParameterChoice::Int64Param(1)));
    let seen = ask(vec![unknown, wrong, message("echo", "good", &[1.0])]).await;
    assert!(
        seen[0].1.contains("'triton_what'") && seen[0].1.contains("reserved for Triton usage"),
        "{seen:?}"
    );
    assert!(seen[1].1.contains(&name) && seen[1].1.contains("true or false"), "{seen:?}");
    assert_eq!(seen[2], ("good".to_owned(), String::new(), Some(true)));
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
