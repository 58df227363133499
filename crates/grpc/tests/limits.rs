//! How slowly the message of a call may arrive.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::time::{Duration, Instant};

use adulis_grpc::GrpcOptions;
use adulis_protocol::Pace;
use adulis_protocol::grpc::ModelInferResponse;
use adulis_types::BodyBudget;
use prost::Message;
use support::{Server, message};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Bytes;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

const LONG: Duration = Duration::from_secs(5);
const INFER: &str = "http://test/inference.GRPCInferenceService/ModelInfer";
const STREAM: &str = "http://test/inference.GRPCInferenceService/ModelStreamInfer";

fn hurried() -> Server {
    let pace = Pace { grace: Duration::from_millis(100), bytes_per_second: 10_000, ..Pace::default() };
    Server::start(GrpcOptions { message_pace: pace, ..GrpcOptions::default() })
}

/// Sends framed messages in parts with pauses between them; gives the gRPC status and how many bytes went out.
async fn send(server: &Server, call: &str, parts: Vec<Bytes>, pause: Duration) -> (Option<i32>, usize) {
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(call)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, mut body) = sender.send_request(request, false).unwrap();
    let sending = tokio::spawn(async move {
        let (mut sent, count) = (0, parts.len());
        for (index, part) in parts.into_iter().enumerate() {
            let length = part.len();
            if body.send_data(part, index + 1 == count).is_err() {
                break;
            }
            sent += length;
            tokio::time::sleep(pause).await;
        }
        sent
    });
    let response = tokio::time::timeout(LONG, response).await.unwrap().unwrap();
    let code = |headers: &http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    let mut status = code(response.headers());
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
    if status.is_none() {
        status = body.trailers().await.unwrap().as_ref().and_then(code);
    }
    (status, sending.await.unwrap())
}

fn framed(count: usize) -> Bytes {
    let message = message("echo", "", &vec![0.5; count]).encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

/// Ten bytes at a time.
fn trickle(whole: &Bytes) -> Vec<Bytes> {
    (0..500).map(|at| whole.slice(at * 10..at * 10 + 10)).collect()
}

#[tokio::test]
async fn a_message_that_trickles_in_is_refused_and_a_steady_one_is_not() {
    let server = hurried();
    let whole = framed(10_000);
    for call in [INFER, STREAM] {
        let began = Instant::now();
        let (status, _) = send(&server, call, trickle(&whole), Duration::from_millis(20)).await;
        assert_eq!(status, Some(Code::DeadlineExceeded as i32), "{call}");
        assert!(began.elapsed() < LONG / 2, "{call}: {:?}", began.elapsed());

        let steady = whole.chunks(whole.len() / 10).map(Bytes::copy_from_slice).collect();
        let (status, sent) = send(&server, call, steady, Duration::from_millis(20)).await;
        assert_eq!((status, sent), (Some(0), whole.len()), "{call}");
    }
}

#[tokio::test]
async fn each_message_of_a_stream_has_its_own_pace() {
    let server = hurried();
    let (first, second) = (framed(10), framed(10_000));
    // One that is whole, with the beginning of the next; then silence where there should be more.
    let begun = [&first[..], &second[..3]].concat().into();
    let began = Instant::now();
    let (status, _) = send(&server, STREAM, vec![begun, Bytes::new()], LONG / 5).await;
    assert_eq!(status, Some(Code::DeadlineExceeded as i32));
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    // Many that are whole, further apart than any may take.
    let (status, _) = send(&server, STREAM, vec![first; 5], Duration::from_millis(250)).await;
    assert_eq!(status, Some(0));
}

#[tokio::test]
async fn a_stream_may_be_silent_between_its_messages() {
    let server = hurried();
    let (sender, requests) = mpsc::channel(1);
    let mut client = server.client().await;
    let call = tokio::spawn(async move {
        client.model_stream_infer(ReceiverStream::new(requests)).await.unwrap().into_inner()
    });
    sender.send(message("echo", "", &[1.0])).await.unwrap();
    let mut answers = call.await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
    tokio::time::sleep(Duration::from_millis(300)).await;
    sender.send(message("echo", "", &[2.0])).await.unwrap();
    assert!(answers.message().await.unwrap().unwrap().error_message.is_empty());
}

/// A message with so many inputs, behind which it goes on with what is none: whoever decodes it takes memory for all of them, and
/// then tells something else than their number.
#[derive(Clone, PartialEq, Message)]
struct Flood {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(bytes = "vec", repeated, tag = "5")]
    inputs: Vec<Vec<u8>>,
    #[prost(uint64, tag = "7")]
    no_contents: u64,
}

/// The same of a request to load a model.
#[derive(Clone, PartialEq, Message)]
struct LoadFlood {
    #[prost(bytes = "vec", repeated, tag = "3")]
    parameters: Vec<Vec<u8>>,
}

#[tokio::test]
async fn what_a_message_has_too_much_of_is_counted_before_it_takes_memory() {
    let server = support::default_server();
    let channel = Channel::from_shared(format!("http://{}", server.address))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let flood = Flood { model_name: "echo".into(), inputs: vec![Vec::new(); 1025], no_contents: 1 };
    let load = LoadFlood { parameters: vec![Vec::new(); 1025] };
    for compression in [None, Some(CompressionEncoding::Gzip)] {
        let client = || {
            let client = Grpc::new(channel.clone());
            compression.into_iter().fold(client, Grpc::send_compressed)
        };
        let path = |rpc: &str| format!("/inference.GRPCInferenceService/{rpc}").parse().unwrap();
        let codec = ProstCodec::<Flood, ModelInferResponse>::default;
        let mut unary = client();
        unary.ready().await.unwrap();
        let refused = unary.unary(Request::new(flood.clone()), path("ModelInfer"), codec()).await;
        let unary = refused.unwrap_err();

        let mut stream = client();
        stream.ready().await.unwrap();
        let request = Request::new(tokio_stream::once(flood.clone()));
        let opened = stream.streaming(request, path("ModelStreamInfer"), codec()).await;
        let stream = opened.unwrap().into_inner().message().await.unwrap_err();
        for refused in [unary, stream] {
            assert_eq!(refused.code(), Code::InvalidArgument, "{compression:?} {refused:?}");
            let told = "model 'echo': too many inputs: at most 1024 are taken";
            assert_eq!(refused.message(), told, "{compression:?}");
        }

        let mut control = client();
        control.ready().await.unwrap();
        let codec = ProstCodec::<LoadFlood, ()>::default();
        let path = path("RepositoryModelLoad");
        let refused = control.unary(Request::new(load.clone()), path, codec).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert_eq!(refused.message(), "too many parameters: at most 1024 are taken", "{compression:?}");
    }
}

#[tokio::test]
async fn messages_together_hold_no_more_than_they_may() {
    let bodies = BodyBudget::new(100_000);
    let server = Server::start(GrpcOptions { bodies: bodies.clone(), ..GrpcOptions::default() });
    let mut client = server.client().await;
    let large = |model: &str| message(model, "7", &[0.5; 20_000]);
    let mut other = client.clone();
    let (first, one) = (large("held"), large("echo"));
    let held = tokio::spawn(async move { other.model_infer(first).await });
    server.service.calls.wait_started(1).await;
    assert!((60_000..70_000).contains(&bodies.held_bytes()), "{}", bodies.held_bytes());

    // While it comes in; compressed, when it is there.
    let mut compressing = server.client().await.send_compressed(CompressionEncoding::Gzip);
    for client in [&mut client, &mut compressing] {
        let refused = client.model_infer(one.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert!(refused.message().contains("server.max_in_flight_bytes"), "{refused:?}");
        let told =
            ["retry-after", "grpc-retry-pushback-ms"].map(|name| refused.metadata().get(name).cloned());
        assert_eq!(told, ["1", "1000"].map(|value| value.parse().ok()), "{refused:?}");
    }
    let sent = tokio_stream::once(one.clone());
    let refused = client.model_stream_infer(sent).await.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.metadata().contains_key("retry-after"), "{refused:?}");
    // A stream whose message has come goes on with the next.
    let sent = tokio_stream::iter([one.clone(), message("echo", "8", &[1.0])]);
    let mut answers = compressing.model_stream_infer(sent).await.unwrap().into_inner();
    let refused = answers.message().await.unwrap().unwrap();
    assert!(refused.error_message.contains("server.max_in_flight_bytes"), "{refused:?}");
    assert!(answers.message().await.unwrap().unwrap().error_message.is_empty());
    assert_eq!(bodies.refused(), 4);

    server.service.release.add_permits(1);
    held.await.unwrap().unwrap();
    assert_eq!(bodies.held_bytes(), 0);
    // One after the other there is room for any number.
    for _ in 0..3 {
        client.model_infer(one.clone()).await.unwrap();
        let sent = tokio_stream::once(one.clone());
        let mut answers = client.model_stream_infer(sent).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().error_message, "");
    }
    assert_eq!(bodies.held_bytes(), 0);
}
