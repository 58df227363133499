//! What gRPC says of the response cache: trailers, and what clients ask of it.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::{InferParameter, ModelInferRequest};
use adulis_types::CacheDirective;
use support::{default_server, message};
use tonic::{Code, Request};

fn asking(directive: &str) -> ModelInferRequest {
    let choice = ParameterChoice::StringParam(directive.to_owned());
    let parameter = InferParameter { parameter_choice: Some(choice) };
    ModelInferRequest {
        parameters: [("cache_control".to_owned(), parameter)].into(),
        ..message("echo", "", &[1.0])
    }
}

#[tokio::test]
async fn answers_say_what_the_response_cache_had_to_do_with_them() {
    let server = default_server();
    let mut client = server.client().await;
    // The client gives headers and trailers as one.
    let cached = client.model_infer(message("cached", "", &[1.0])).await.unwrap();
    assert_eq!(cached.metadata().get("adulis-cache").unwrap(), "hit; age=12");
    assert_eq!(cached.into_inner().raw_output_contents[0].len(), 4);
    let plain = client.model_infer(message("echo", "", &[1.0])).await.unwrap();
    assert!(plain.metadata().get("adulis-cache").is_none());
}

#[tokio::test]
async fn cache_control_is_told_to_the_service() {
    let server = default_server();
    let mut client = server.client().await;
    for (metadata, message, expected) in [
        (None, asking("use"), CacheDirective::Use),
        (None, asking("no-cache"), CacheDirective::NoCache),
        (Some("no-store"), asking("no-cache"), CacheDirective::NoStore),
        (Some("max-age=0, x"), message("echo", "", &[1.0]), CacheDirective::NoCache),
        (Some("anything"), message("echo", "", &[1.0]), CacheDirective::Use),
    ] {
        let mut request = Request::new(message);
        if let Some(value) = metadata {
            request.metadata_mut().insert("cache-control", value.parse().unwrap());
        }
        client.model_infer(request).await.unwrap();
        assert_eq!(server.service.last.lock().take().unwrap().cache, expected, "{metadata:?}");
    }
    let status = client.model_infer(asking("never")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let expected =
        "model 'echo': parameter 'cache_control': expected 'use', 'no-cache' or 'no-store', got 'never'";
    assert_eq!(status.message(), expected);
}

#[tokio::test]
async fn a_stream_asks_for_all_of_its_requests() {
    let server = default_server();
    let mut client = server.client().await;
    let requests = tokio_stream::iter([message("echo", "", &[1.0])]);
    let mut request = Request::new(requests);
    request.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
    let mut answers = client.model_stream_infer(request).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    assert_eq!(server.service.last.lock().take().unwrap().cache, CacheDirective::NoCache);
}
