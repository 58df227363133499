//! The gRPC adapter over a scripted service, through the server's own listener: alone and on one port with REST.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use adulis_grpc::GrpcOptions;
use adulis_http::Drained;
use adulis_protocol::grpc::{
    ModelMetadataRequest, ModelReadyRequest, ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest,
};
use adulis_testing::RawConnection;
use support::{Server, default_server, message};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request};

#[tokio::test]
async fn health_and_metadata() {
    let server = default_server();
    let mut client = server.client().await;
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    server.service.unready.store(true, Ordering::SeqCst);
    assert!(!client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let metadata = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(metadata.name, "scripted");

    let ready =
        |name: &str, version: &str| ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
    assert!(client.model_ready(ready("echo", "")).await.unwrap().into_inner().ready);
    assert!(client.model_ready(ready("echo", "1")).await.unwrap().into_inner().ready);
    assert!(!client.model_ready(ready("loading", "")).await.unwrap().into_inner().ready);
    for (model, version) in [("nobody", ""), ("echo", "7")] {
        assert!(!client.model_ready(ready(model, version)).await.unwrap().into_inner().ready, "{model}");
    }
    assert_eq!(client.model_ready(ready("echo", "x")).await.unwrap_err().code(), Code::InvalidArgument);
    let metadata = ModelMetadataRequest { name: "echo".to_owned(), version: String::new() };
    assert_eq!(client.model_metadata(metadata).await.unwrap().into_inner().inputs[0].shape, [-1, 16]);
}

#[tokio::test]
async fn infers_beside_rest_on_one_port() {
    let server = default_server();
    let mut client = server.client().await;
    let mut request = Request::new(message("echo", "seven", &[1.0, 2.5]));
    request.metadata_mut().insert("x-request-id", "abc-1".parse().unwrap());
    let response = client.model_infer(request).await.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap(), "abc-1");
    let response = response.into_inner();
    assert_eq!((response.id.as_str(), response.model_version.as_str()), ("seven", "1"));
    assert_eq!(response.raw_output_contents[0], [1.0_f32, 2.5].map(f32::to_le_bytes).concat());

    let mut rest = RawConnection::open(server.address).await.unwrap();
    assert_eq!(rest.request("GET /v2/health/live", &[], b"").await.unwrap().status, 200);
    assert_eq!(rest.request("GET /nothing", &[], b"").await.unwrap().status, 404);
}

#[tokio::test]
async fn what_is_not_served_is_unimplemented() {
    let server = default_server();
    let channel = Channel::from_shared(format!("http://{}", server.address)).unwrap();
    for path in [
        "/inference.GRPCInferenceService/NoSuchCall",
        "/other.Service/Call",
    ] {
        let mut client = tonic::client::Grpc::new(channel.connect().await.unwrap());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<ServerLiveRequest, ServerLiveRequest>::default();
        let status = client
            .unary(Request::new(ServerLiveRequest {}), path.parse().unwrap(), codec)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn errors_have_their_codes() {
    let server = default_server();
    let mut client = server.client().await;
    for (model, code) in [
        ("fail-invalid_argument", Code::InvalidArgument),
        ("fail-not_found", Code::NotFound),
        ("fail-unauthenticated", Code::Unauthenticated),
        ("fail-permission_denied", Code::PermissionDenied),
        ("fail-rate_limited", Code::ResourceExhausted),
        ("fail-overloaded", Code::Unavailable),
        ("fail-deadline_exceeded", Code::DeadlineExceeded),
        ("fail-unsupported", Code::Unimplemented),
        ("fail-internal", Code::Internal),
    ] {
        let status = client.model_infer(message(model, "", &[1.0])).await.unwrap_err();
        assert_eq!(status.code(), code, "{model}");
        assert!(status.message().contains("asked to fail"), "{}", status.message());
        assert!(status.metadata().contains_key("x-request-id"));
        let told = ["retry-after", "grpc-retry-pushback-ms"].map(|key| status.metadata().get(key).cloned());
        let expected = (model == "fail-overloaded").then_some(["2", "1200"]);
        assert_eq!(told[0].is_some(), expected.is_some(), "{model}");
        if let Some([seconds, millis]) = expected {
            assert_eq!(
                (told[0].as_ref().unwrap(), told[1].as_ref().unwrap()),
                (&seconds.parse().unwrap(), &millis.parse().unwrap())
            );
        }
    }
    let status = client.model_infer(message("nobody", "", &[1.0])).await.unwrap_err();
    assert!(status.message().contains("Request for unknown model"), "{}", status.message());
    let mut wrong = message("echo", "", &[1.0]);
    wrong.inputs[0].shape = vec![7];
    let status = client.model_infer(wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status.message().contains("INPUT0") && status.message().contains("echo"),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn a_panic_is_internal_and_the_server_goes_on() {
    let server = default_server();
    let mut client = server.client().await;
    for _ in 0..2 {
        let status = client.model_infer(message("panic", "", &[1.0])).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
        let id = status.metadata().get("x-request-id");
        assert!(id.is_some_and(|id| !id.is_empty()), "it is found in the log by it");
    }
    let mut request = Request::new(message("panic", "", &[1.0]));
    request.metadata_mut().insert("x-request-id", "the-client-s-own".parse().unwrap());
    let status = client.model_infer(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "the-client-s-own");
    assert!(client.model_infer(message("echo", "", &[1.0])).await.is_ok());
}

#[tokio::test]
async fn deadlines_are_the_clients_or_the_servers() {
    let server = Server::start(GrpcOptions {
        request_timeout: Some(Duration::from_millis(200)),
        ..GrpcOptions::default()
    });
    let mut client = server.client().await;
    // This client gives up by itself too, so that either side may be the one to tell.
    let mut request = Request::new(message("slow", "", &[1.0]));
    request.set_timeout(Duration::from_millis(20));
    let code = client.model_infer(request).await.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    let last = server.service.last.lock().take().unwrap();
    assert_eq!(last.timeout, Some(Duration::from_millis(20)));
    server.service.calls.wait_cancelled(1).await;

    let status = client.model_infer(message("slow", "", &[1.0])).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("200ms"), "{}", status.message());
    server.service.calls.wait_cancelled(2).await;

    let mut request = Request::new(message("echo", "", &[1.0]));
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(client.model_infer(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_client_that_cancels_cancels_its_request() {
    let server = default_server();
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.model_infer(message("slow", "", &[1.0])).await });
    server.service.calls.wait_started(1).await;
    call.abort();
    server.service.calls.wait_cancelled(1).await;
}

#[tokio::test]
async fn messages_are_bounded_and_may_be_compressed() {
    let server = Server::start(GrpcOptions {
        max_request_bytes: 100_000,
        compress_responses: true,
        ..GrpcOptions::default()
    });
    let values = vec![0.5; 20_000];
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let mut client = server.client().await.send_compressed(encoding).accept_compressed(encoding);
        let response = client.model_infer(message("echo", "", &values)).await.unwrap();
        let used = response.metadata().get("grpc-encoding").unwrap().clone();
        assert!(used == "gzip" || used == "deflate", "{used:?}");
        assert_eq!(response.into_inner().raw_output_contents[0].len(), 80_000);
        // A few kilobytes on the wire, 200,000 bytes when inflated.
        let status = client.model_infer(message("echo", "", &[0.5; 50_000])).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
    let mut client = server.client().await;
    let status = client.model_infer(message("echo", "", &[0.5; 50_000])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(client.model_infer(message("echo", "", &values)).await.is_ok());
}

#[tokio::test]
async fn draining_waits_for_calls() {
    let server = default_server();
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.model_infer(message("held", "", &[1.0])).await });
    server.service.calls.wait_started(1).await;
    drop(server.stop);
    // Draining has begun once the port is closed.
    while tokio::net::TcpStream::connect(server.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.service.release.add_permits(1);
    assert!(call.await.unwrap().is_ok());
    assert_eq!(server.task.await.unwrap(), Drained { forced: 0 });
}
