//! Connections that are cut in the middle of a message, over REST and gRPC, again and again: nothing of them stays.

use std::convert::Infallible;
use std::net::Shutdown;
use std::time::Duration;

use adulis_testing::{TestRepository, TestServer};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{INFER, byte_json, byte_message, byte_model, frame, grpc, serve, status_of};
use crate::{ask, assert_ok, until};

const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// A gRPC call whose message does not end.
pub(crate) struct Call {
    socket: std::net::TcpStream,
    /// Held, so that the message does not end.
    _body: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    answer: JoinHandle<hyper::Result<http::Response<Incoming>>>,
}

impl Call {
    /// On a connection of its own, with the first part of its message.
    pub(crate) async fn begin(server: &TestServer, path: &str, part: Vec<u8>) -> Self {
        let stream = TcpStream::connect(server.address("grpc").await).await.unwrap().into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let stream = TokioIo::new(TcpStream::from_std(stream).unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let (body, parts) = mpsc::channel(1);
        body.send(Ok(Frame::data(part.into()))).await.unwrap();
        let request = Request::post(format!("http://test{path}"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(StreamBody::new(ReceiverStream::new(parts)))
            .unwrap();
        let answer = tokio::spawn(async move { sender.send_request(request).await });
        Self { socket, _body: body, answer }
    }

    /// As the end of a client's process does.
    fn cut(self) {
        // It may have been cut already.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.answer.abort();
    }

    /// The gRPC status with which the server ends it, if it does so.
    pub(crate) async fn status(self) -> Option<i32> {
        let (head, body) = self.answer.await.unwrap().ok()?.into_parts();
        if head.headers.contains_key("grpc-status") {
            return Some(status_of(&head.headers).0);
        }
        let body = body.collect().await.ok()?;
        Some(status_of(body.trailers()?).0)
    }
}

const PART: usize = 1 << 20;

/// One of each kind, cut in its middle.
async fn cut_one_of_each(server: &TestServer) {
    // A body that does not end.
    let mut rest = server.connect().await.unwrap();
    let length = 2 * PART;
    let head =
        format!("POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    rest.send(head.as_bytes()).await.unwrap();
    rest.send(&vec![b' '; PART]).await.unwrap();
    drop(rest);
    // Messages of a call and of a stream, each announced as twice as long.
    let announced = [
        &[0],
        &u32::try_from(length).unwrap().to_be_bytes()[..],
        &vec![0; PART],
    ]
    .concat();
    for path in [INFER, STREAM] {
        let call = Call::begin(server, path, announced.clone()).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        call.cut();
    }
    // One that is whole and waits for its answer, and a stream with a whole message and a part of the next.
    let mut waits = server.connect().await.unwrap();
    let body = byte_json(7);
    let length = body.len();
    let line = "POST /v2/models/slow/infer HTTP/1.1\r\nhost: x";
    waits
        .send(format!("{line}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
        .await
        .unwrap();
    let message = frame(&byte_message("slow", 7).encode_to_vec());
    let call = Call::begin(server, STREAM, [&message[..], &message[..9]].concat()).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    call.cut();
}

async fn memory(server: &TestServer) -> f64 {
    server.metric("process_resident_memory_bytes", &[]).await.unwrap()
}

/// Waits until nothing of what was cut is left; the open files that there are then.
async fn at_rest(server: &TestServer) -> u64 {
    for (gauge, labels) in [
        ("adulis_connections", &["listener=\"http\""][..]),
        ("adulis_connections", &["listener=\"grpc\""]),
        ("adulis_requests_in_flight", &[]),
        ("adulis_queue_requests", &[]),
        ("adulis_executing_batches", &[]),
    ] {
        server.metric_reaches(gauge, labels, 0.0).await;
    }
    server.open_files().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_in_the_middle_leave_nothing_behind() {
    const ROUNDS: usize = 100;
    let repository = TestRepository::new().unwrap();
    repository.identity("digits", &byte_model(&[])).unwrap();
    repository.identity("slow", &byte_model(&[("execute_delay_ms", "20")])).unwrap();
    let server = serve(&repository, &[]);
    server.ready().await;
    // As many: the allocator keeps what the most of them took that were there at once.
    for _ in 0..ROUNDS {
        cut_one_of_each(&server).await;
    }
    let (files, before) = (at_rest(&server).await, memory(&server).await);
    for _ in 0..ROUNDS {
        cut_one_of_each(&server).await;
    }
    at_rest(&server).await;
    until("no file is left open", &server, async || server.open_files().unwrap() <= files).await;
    // What was sent is three times as much for each round.
    let grown = memory(&server).await - before;
    let limit = (ROUNDS * PART / 4) as f64;
    assert!(grown < limit, "{grown} bytes more than after the first ones");
    assert_ok(&ask(&mut server.connect().await.unwrap(), "slow", &[], 1).await);
    grpc(&server).await.model_infer(byte_message("slow", 1)).await.unwrap();
}
