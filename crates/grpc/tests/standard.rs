//! gRPC's own services, and what is on the wire where no method is.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use adulis_grpc::GrpcOptions;
use support::{Server, default_server};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, ServiceUnknown, Serving};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

const INFERENCE: &str = "inference.GRPCInferenceService";
const SOON: Duration = Duration::from_secs(10);

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(format!("http://{}", server.address))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn health_is_readiness() {
    let server = default_server();
    let client = &mut HealthClient::new(channel(&server).await);
    for (unready, status) in [(false, Serving), (true, NotServing)] {
        server.service.unready.store(unready, Ordering::SeqCst);
        for service in ["", INFERENCE] {
            let answer = client.check(asked(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), status, "{service}");
        }
    }
    let refused = client.check(asked("inference.Other")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("unknown service 'inference.Other'"), "{refused}");
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let message = tokio::time::timeout(SOON, watch.message()).await.unwrap().unwrap();
    message.map(|message| message.status())
}

#[tokio::test]
async fn a_watch_tells_every_change_and_holds_up_no_shutdown() {
    let server = default_server();
    let client = &mut HealthClient::new(channel(&server).await);
    let unready = |is: bool| server.service.unready.store(is, Ordering::SeqCst);
    unready(true);
    let mut watch = client.watch(asked(INFERENCE)).await.unwrap().into_inner();
    let mut unknown = client.watch(asked("other")).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, Some(NotServing));
    assert_eq!(next(&mut unknown).await, Some(ServiceUnknown));
    unready(false);
    assert_eq!(next(&mut watch).await, Some(Serving));
    unready(true);
    assert_eq!(next(&mut watch).await, Some(NotServing));
    unready(false);
    assert_eq!(next(&mut watch).await, Some(Serving));
    // As a server that drains.
    unready(true);
    assert_eq!(next(&mut watch).await, Some(NotServing));
    assert_eq!(next(&mut watch).await, None);
    assert_eq!(next(&mut unknown).await, None);
}

async fn reflected(server: &Server, request: MessageRequest) -> Result<MessageResponse, Status> {
    let mut client = ServerReflectionClient::new(channel(server).await);
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = answers.into_inner().message().await?;
    Ok(answer.unwrap().message_response.unwrap())
}

#[tokio::test]
async fn reflection_tells_what_there_is() {
    let server = Server::start(GrpcOptions::default());
    let services = match reflected(&server, MessageRequest::ListServices(String::new())).await.unwrap() {
        MessageResponse::ListServicesResponse(list) => list.service,
        _ => Vec::new(),
    };
    let names: Vec<&str> = services.iter().map(|ServiceResponse { name }| name.as_str()).collect();
    for name in [
        INFERENCE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for symbol in [INFERENCE, "inference.ModelInferRequest", "inference.ModelConfig"] {
        let symbol = MessageRequest::FileContainingSymbol(symbol.to_owned());
        let answer = reflected(&server, symbol).await.unwrap();
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{answer:?}");
    }
    let unknown = MessageRequest::FileContainingSymbol("inference.Nothing".to_owned());
    assert_eq!(reflected(&server, unknown).await.unwrap_err().code(), Code::NotFound);
}
