//! Every RPC with nobody's, wrong, narrower and sufficient credentials.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use adulis_grpc::GrpcOptions;
use adulis_protocol::grpc::{
    FILE_DESCRIPTOR_SET, ModelStatisticsRequest, RepositoryIndexRequest, RepositoryModelUnloadRequest,
};
use adulis_testing::{GuardedServices, RPCS, ScriptedAccess, bearer};
use adulis_types::{Operation, Scope};
use prost::Message;
use support::{Server, message};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, iter};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// How long a stream that nobody refuses is waited for.
const SOON: Duration = Duration::from_millis(300);

fn serving(anonymous: &[Scope]) -> (Server, Arc<ScriptedAccess>) {
    let GuardedServices { services, inference, access } = GuardedServices::new(anonymous);
    (Server::serving(services, inference, GrpcOptions::default()), access)
}

fn with<T>(message: T, credentials: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(credentials) = credentials {
        let value = AsciiMetadataValue::try_from(credentials).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Calls an RPC with an empty message, which every message can be read from, and says how it ended: `Ok` too for a stream that
/// goes on.
async fn call(channel: &Channel, rpc: &str, credentials: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/{rpc}")).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let asking = client.streaming(with(iter([()]), credentials), path, codec);
    let Ok(answer) = tokio::time::timeout(SOON, asking).await else {
        return Ok(());
    };
    let mut messages = answer?.into_inner();
    match tokio::time::timeout(SOON, messages.message()).await {
        Ok(message) => message.map(drop),
        Err(_) => Ok(()),
    }
}

#[tokio::test]
async fn every_rpc_does_what_the_table_says_and_for_nobody_else() {
    let (server, access) = serving(&[]);
    let address = format!("http://{}", server.address);
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    for (rpc, scope) in RPCS {
        for credentials in [None, Some("Bearer nobody"), Some("Basic YTpi"), Some("")] {
            let refused = call(&channel, rpc, credentials).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{rpc} {credentials:?}: {refused}");
            assert!(refused.metadata().contains_key("x-request-id"), "{rpc}");
        }
        let others: Vec<Scope> =
            Scope::ALL.into_iter().filter(|other| ![scope, Scope::Admin].contains(other)).collect();
        for late in ["", "late:"] {
            let sent = |scopes: &[Scope]| bearer(scopes).replace("Bearer ", &format!("Bearer {late}"));
            let refused = call(&channel, rpc, Some(&sent(&others))).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{rpc}: {refused}");
            assert!(refused.message().contains(scope.as_str()), "{rpc}: {refused}");
            let denied = access.denied.lock().pop();
            assert_eq!(denied.map(Operation::scope), Some(scope), "{rpc}");
            for sufficient in [scope, Scope::Admin] {
                let outcome = call(&channel, rpc, Some(&sent(&[sufficient]))).await;
                let code = outcome.map_or_else(|status| status.code(), |()| Code::Ok);
                let refusals = [Code::Unauthenticated, Code::PermissionDenied];
                assert!(!refusals.contains(&code), "{rpc} {sufficient:?}: {code:?}");
            }
        }
    }
}

/// The names of a service's methods, out of a schema: `FileDescriptorSet` and what is in it, as far as names go.
#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    service: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
}

#[derive(Clone, PartialEq, Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

#[test]
fn every_method_of_the_schemas_is_in_the_table() {
    let mut methods = Vec::new();
    for schema in [
        FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        for file in Files::decode(schema).unwrap().file {
            for service in &file.service {
                let path = |method: &Method| format!("{}.{}/{}", file.package, service.name, method.name);
                methods.extend(service.method.iter().map(path));
            }
        }
    }
    methods.sort();
    methods.dedup();
    let mut known: Vec<String> = RPCS.iter().map(|(rpc, _)| (*rpc).to_owned()).collect();
    known.sort();
    assert_eq!(methods, known);
}

#[tokio::test]
async fn models_out_of_its_patterns_are_not_its_own() {
    let (server, _) = serving(&[]);
    let mut client = server.client().await;
    for (sent, code) in [
        ("Bearer infer@echo", Code::Ok),
        ("Bearer infer@other*", Code::PermissionDenied),
    ] {
        let outcome = client.model_infer(with(message("echo", "", &[1.0]), Some(sent))).await;
        assert_eq!(outcome.map_or_else(|status| status.code(), |_| Code::Ok), code);
    }
    assert_eq!(server.service.last.lock().take().unwrap().identity.unwrap().name, "scripted");
    let none = client.model_statistics(with(ModelStatisticsRequest::default(), Some("Bearer statistics@x")));
    assert!(none.await.unwrap().into_inner().model_stats.is_empty());
    let some = client.repository_index(with(RepositoryIndexRequest::default(), Some("Bearer metadata@echo")));
    let some = some.await.unwrap().into_inner().models;
    assert!(!some.is_empty() && some.iter().all(|model| model.name == "echo"), "{some:?}");
    let unload = RepositoryModelUnloadRequest {
        model_name: "echo".to_owned(),
        parameters: [(
            "unload_dependents".to_owned(),
            adulis_protocol::grpc::ModelRepositoryParameter {
                parameter_choice: Some(
                    adulis_protocol::grpc::model_repository_parameter::ParameterChoice::BoolParam(true),
                ),
            },
        )]
        .into(),
        ..RepositoryModelUnloadRequest::default()
    };
    let refused = client.repository_model_unload(with(unload, Some("Bearer repository@echo"))).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    assert!(server.service.unloads.lock().is_empty());
}

#[tokio::test]
async fn each_request_of_a_stream_is_looked_at_and_an_identity_ends_under_it() {
    let (server, access) = serving(&[]);
    let mut client = server.client().await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let stream = with(ReceiverStream::new(requests), Some("Bearer infer@echo"));
    sender.send(message("echo", "1", &[1.0])).await.unwrap();
    let mut answers = client.model_stream_infer(stream).await.unwrap().into_inner();
    let mut next = async || answers.next().await.unwrap().unwrap();
    assert_eq!(next().await.infer_response.unwrap().id, "1");
    sender.send(message("held", "2", &[1.0])).await.unwrap();
    let refused = next().await;
    assert!(refused.error_message.contains("may not use model 'held'"), "{refused:?}");
    access.ended.store(true, Ordering::SeqCst);
    sender.send(message("echo", "3", &[1.0])).await.unwrap();
    let refused = next().await;
    assert!(refused.error_message.contains("expired"), "{refused:?}");
    assert_eq!(server.service.calls.started.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn health_that_is_open_is_told_to_everybody() {
    let (server, _) = serving(&[Scope::Health]);
    let address = format!("http://{}", server.address);
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    for (rpc, scope) in RPCS {
        let outcome = call(&channel, rpc, None).await;
        let code = outcome.map_or_else(|status| status.code(), |()| Code::Ok);
        assert_eq!(code == Code::Unauthenticated, scope != Scope::Health, "{rpc}: {code:?}");
        if scope == Scope::Health {
            let outcome = call(&channel, rpc, Some("Bearer nobody")).await;
            let code = outcome.map_or_else(|status| status.code(), |()| Code::Ok);
            assert_ne!(code, Code::Unauthenticated, "{rpc}");
        }
    }
}
