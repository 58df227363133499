//! The listener: versions, disconnects, slow and idle clients, limits, draining.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_http::{Drained, HttpOptions, ListenerOptions, Protocols};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Server, assert_error, binary_body, json_body};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const MOMENT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(5);

async fn with(options: ListenerOptions) -> Server {
    Server::start(HttpOptions::default(), options).await
}

async fn http2(server: &Server) -> (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn infer(model: &str) -> Request<Full<Bytes>> {
    Request::post(format!("http://test/v2/models/{model}/infer"))
        .body(Full::from(json_body(4)))
        .unwrap()
}

#[tokio::test]
async fn speaks_both_versions_on_one_port() {
    let server = Server::default().await;
    let (mut sender, _connection) = http2(&server).await;
    for _ in 0..2 {
        let response = sender.send_request(infer("echo")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert!(response.into_body().collect().await.unwrap().to_bytes().starts_with(b"{"));
    }
    assert_eq!(server.get("/v2/health/live").await.status, 200);
}

#[tokio::test]
async fn speaks_only_what_it_is_told_to() {
    let server = with(ListenerOptions { protocols: Protocols::Http1, ..ListenerOptions::default() }).await;
    assert_eq!(server.get("/v2").await.status, 200);
    let (mut sender, _connection) = http2(&server).await;
    assert!(sender.send_request(infer("echo")).await.is_err());

    let server = with(ListenerOptions { protocols: Protocols::Http2, ..ListenerOptions::default() }).await;
    let (mut sender, _connection) = http2(&server).await;
    assert_eq!(sender.send_request(infer("echo")).await.unwrap().status(), 200);
    let mut connection = server.connect().await;
    assert!(connection.request("GET /v2", &[], b"").await.is_err());
}

#[tokio::test]
async fn a_preface_in_two_parts_is_still_http2() {
    let server = Server::default().await;
    let mut connection = server.connect().await;
    connection.send(b"PRI * HTTP/2.0\r\n").await.unwrap();
    tokio::time::sleep(MOMENT).await;
    connection.send(b"\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // The server's SETTINGS frame is no HTTP/1 response, and the connection stays open.
    assert!(!connection.closed_within(MOMENT).await);
}

#[tokio::test]
async fn an_http1_client_that_goes_away_cancels_its_request() {
    let server = Server::default().await;
    let mut connection = server.connect().await;
    let body = json_body(1);
    let head =
        format!("POST /v2/models/slow/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.send(&[head.as_bytes(), &body].concat()).await.unwrap();
    server.service.calls.wait_started(1).await;
    drop(connection);
    server.service.calls.wait_cancelled(1).await;
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_cancels_its_request() {
    let server = Server::default().await;
    let (mut sender, connection) = http2(&server).await;
    let mut other = sender.clone();
    let call = tokio::spawn(async move { sender.send_request(infer("slow")).await });
    server.service.calls.wait_started(1).await;
    call.abort();
    server.service.calls.wait_cancelled(1).await;
    assert!(!connection.is_finished());
    assert_eq!(other.send_request(infer("echo")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_http2_client_that_goes_away_cancels_its_requests() {
    let server = Server::default().await;
    let address = server.address;
    // With a runtime of its own, whose end closes the socket as the end of a process does.
    let client = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    client.spawn(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (one, two) = (sender.send_request(infer("slow")), sender.clone().send_request(infer("slow")));
        let _ = tokio::join!(one, two);
    });
    server.service.calls.wait_started(2).await;
    client.shutdown_background();
    server.service.calls.wait_cancelled(2).await;
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_cut_off() {
    let server = with(ListenerOptions { header_read_timeout: MOMENT, ..ListenerOptions::default() }).await;
    let mut silent = server.connect().await;
    assert!(silent.closed_within(LONG).await, "a client that says nothing");

    let mut slow = server.connect().await;
    let began = Instant::now();
    let mut cut = false;
    for byte in b"GET /v2 HTTP/1.1\r\nx-very-long: ".iter().chain([b'x'; 1000].iter()) {
        if slow.send(&[*byte]).await.is_err() {
            cut = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        if began.elapsed() > LONG {
            break;
        }
    }
    assert!(cut, "a byte at a time keeps no connection open");

    let mut second = server.connect().await;
    assert_eq!(second.request("GET /v2", &[], b"").await.unwrap().status, 200);
    second.send(b"GET /v2 HT").await.unwrap();
    assert!(second.closed_within(LONG).await, "the second request's head counts too");
}

#[tokio::test]
async fn a_silent_client_is_cut_off_without_version_detection_too() {
    let server = with(ListenerOptions {
        protocols: Protocols::Http1,
        header_read_timeout: MOMENT,
        ..ListenerOptions::default()
    })
    .await;
    assert!(server.connect().await.closed_within(LONG).await);
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let server =
        with(ListenerOptions { keep_alive_timeout: Duration::from_millis(40), ..ListenerOptions::default() })
            .await;
    let mut connection = server.connect().await;
    // The request takes 100 ms, longer than an idle connection is kept.
    let response = connection.request("POST /v2/models/late/infer", &[], &json_body(1)).await.unwrap();
    assert_eq!(response.status, 200);
    assert!(connection.closed_within(LONG).await);

    let (mut sender, connection) = http2(&server).await;
    assert_eq!(sender.send_request(infer("late")).await.unwrap().status(), 200);
    tokio::time::timeout(LONG, connection).await.unwrap().unwrap().unwrap();
}

/// A model may think for longer than an idle connection is kept, in the middle of its answer.
#[tokio::test]
async fn an_answer_in_whose_middle_the_model_is_silent_is_whole() {
    let parts = || async {
        Body::from_stream(stream::iter(0..2).then(async |part| {
            tokio::time::sleep(MOMENT * part * 5).await;
            Ok::<_, Infallible>(Bytes::from(format!("part {part};")))
        }))
    };
    let app = Router::new().route("/parts", get(parts));
    let options = ListenerOptions { keep_alive_timeout: MOMENT, ..ListenerOptions::default() };
    let server = Server::with_router(app, Arc::default(), options);

    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = || Request::get("http://test/parts").body(Full::<Bytes>::default()).unwrap();
    let answer = sender.send_request(request()).await.unwrap().into_body();
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "part 0;part 1;");
    let (mut sender, _connection) = http2(&server).await;
    let answer = sender.send_request(request()).await.unwrap().into_body();
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "part 0;part 1;");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let server = with(ListenerOptions { keep_alive_timeout: MOMENT, ..ListenerOptions::default() }).await;
    let mut connection = server.connect().await;
    let (body, header) = binary_body(4 << 20);
    let head = format!(
        "POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: {header}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.send(&[head.as_bytes(), &body].concat()).await.unwrap();
    server.service.calls.wait_started(1).await;
    tokio::time::sleep(MOMENT * 20).await;
    assert!(connection.receive().await.is_err(), "the answer of 16 MiB must be cut short");
}

#[tokio::test]
async fn connections_over_the_limit_are_told_so() {
    let server = with(ListenerOptions { max_connections: 2, ..ListenerOptions::default() }).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for connection in [&mut first, &mut second] {
        assert_eq!(connection.request("GET /v2", &[], b"").await.unwrap().status, 200);
    }
    for _ in 0..100 {
        let mut third = server.connect().await;
        let response = third.request("GET /v2", &[], b"").await.unwrap();
        assert_eq!(response.status, 503);
        assert_eq!(response.header("connection"), Some("close"));
        assert!(response.text().contains("too many connections"));
    }
    assert_eq!(first.request("GET /v2", &[], b"").await.unwrap().status, 200);
    drop(second);
    for attempt in 0.. {
        let response = server.get("/v2").await;
        if response.status == 200 {
            break;
        }
        assert!(attempt < 100, "no room after a connection closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn heads_over_the_limit_are_refused() {
    let server = with(ListenerOptions { max_header_bytes: 10_000, ..ListenerOptions::default() }).await;
    let mut connection = server.connect().await;
    let header = format!("x-long: {}", "x".repeat(20_000));
    let response = connection.request("GET /v2", &[&header], b"").await.unwrap();
    assert_eq!(response.status, 431);
    assert_eq!(server.get("/v2").await.status, 200);
}

#[tokio::test]
async fn draining_lets_requests_end() {
    let mut server = Server::default().await;
    let address = server.address;
    let service = Arc::clone(&server.service);
    let mut idle = server.connect().await;
    assert_eq!(idle.request("GET /v2", &[], b"").await.unwrap().status, 200);
    let mut silent = server.connect().await;
    let (mut sender, connection) = http2(&server).await;
    let multiplexed = tokio::spawn(async move { sender.send_request(infer("held")).await });
    let mut busy = server.connect().await;
    let one =
        tokio::spawn(async move { busy.request("POST /v2/models/held/infer", &[], &json_body(1)).await });
    server.service.calls.wait_started(2).await;

    server.begin_shutdown();
    assert!(idle.closed_within(LONG).await, "an idle connection closes");
    assert!(silent.closed_within(LONG).await, "and one that has said nothing");
    service.release.add_permits(2);
    let response = one.await.unwrap().unwrap();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(multiplexed.await.unwrap().unwrap().status(), 200);
    connection.await.unwrap().unwrap();
    assert_eq!(server.stopped().await, Drained { forced: 0 });
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn draining_answers_requests_that_are_on_their_way() {
    let mut server = Server::default().await;
    let mut idle = server.connect().await;
    assert_eq!(idle.request("GET /v2", &[], b"").await.unwrap().header("connection"), None);
    let mut silent = server.connect().await;
    let mut silent_for_good = server.connect().await;
    server.begin_shutdown();
    // By now the connections have been told, for as long as a client may pause between two requests.
    tokio::time::sleep(Duration::from_millis(400)).await;
    for connection in [&mut idle, &mut silent] {
        let response = connection.request("POST /v2/models/echo/infer", &[], &json_body(1)).await.unwrap();
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert!(connection.closed_within(LONG).await);
    }
    assert!(silent_for_good.closed_within(LONG).await);
    assert_eq!(server.stopped().await, Drained { forced: 0 });
}

#[tokio::test]
async fn draining_ends_by_force() {
    let server = with(ListenerOptions { drain_timeout: MOMENT, ..ListenerOptions::default() }).await;
    let calls = Arc::clone(&server.service.calls);
    let mut busy = server.connect().await;
    let one =
        tokio::spawn(async move { busy.request("POST /v2/models/slow/infer", &[], &json_body(1)).await });
    let (mut sender, _connection) = http2(&server).await;
    let two = tokio::spawn(async move { sender.send_request(infer("slow")).await });
    calls.wait_started(2).await;
    assert_eq!(server.stopped().await, Drained { forced: 2 });
    calls.wait_cancelled(2).await;
    assert!(one.await.unwrap().is_err());
    assert!(two.await.unwrap().is_err());
}

#[tokio::test]
async fn errors_over_http2_are_the_same() {
    let server = Server::default().await;
    let (mut sender, _connection) = http2(&server).await;
    let response = sender.send_request(infer("nobody")).await.unwrap();
    assert_eq!(response.status(), 404);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{\"error\":"), "{body:?}");
    assert_error(&server.infer("nobody", &[], &json_body(1)).await, 404, "nobody");
}
