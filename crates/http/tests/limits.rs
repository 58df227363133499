//! What one client may take of the server, and what browsers are told.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_http::{
    CorsOptions, CorsOrigins, HttpOptions, Listener, ListenerOptions, Pace, not_found, router, with_cors,
};
use adulis_telemetry::{ConnectionMetrics, MetricRegistry, MetricsFormat};
use adulis_testing::{RawConnection, ScriptedService};
use adulis_types::BodyBudget;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Server, assert_error, gzip, json_body};
use tokio::net::{TcpSocket, TcpStream};

const LONG: Duration = Duration::from_secs(5);

/// A connection from another address of this machine.
#[cfg(target_os = "linux")]
async fn from(address: [u8; 4], server: &Server) -> RawConnection {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    RawConnection::over(socket.connect(server.address).await.unwrap())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_peer_does_not_take_all_connections() {
    let options = ListenerOptions { max_connections_per_peer: 2, ..ListenerOptions::default() };
    let registry = MetricRegistry::default();
    let metrics = ConnectionMetrics::register(&registry).listener("http");
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), options).unwrap().metrics(metrics);
    let service = Arc::new(ScriptedService::default());
    let app = router(Arc::clone(&service), HttpOptions::default());
    let server = Server::on(listener, app, service);

    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for connection in [&mut first, &mut second] {
        assert_eq!(connection.request("GET /v2", &[], b"").await.unwrap().status, 200);
    }
    let response = server.get("/v2").await;
    assert_eq!((response.status, response.header("connection")), (503, Some("close")));
    assert!(response.text().contains("your address has too many connections"), "{}", response.text());
    let mut other = from([127, 0, 0, 2], &server).await;
    assert_eq!(other.request("GET /v2", &[], b"").await.unwrap().status, 200);
    let text = registry.render(MetricsFormat::Text);
    for line in [
        "adulis_connections{listener=\"http\"} 3",
        "adulis_connections_refused_total{listener=\"http\",reason=\"peer_limit\"} 1",
        "adulis_connections_refused_total{listener=\"http\",reason=\"limit\"} 0",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    drop(first);
    for attempt in 0.. {
        if server.get("/v2").await.status == 200 {
            break;
        }
        assert!(attempt < 100, "no room after a connection closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn useless_connections_are_counted_by_what_they_did() {
    let options =
        ListenerOptions { header_read_timeout: Duration::from_millis(50), ..ListenerOptions::default() };
    let registry = MetricRegistry::default();
    let metrics = ConnectionMetrics::register(&registry).listener("http");
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), options).unwrap().metrics(metrics);
    let service = Arc::new(ScriptedService::default());
    let server = Server::on(listener, router(Arc::clone(&service), HttpOptions::default()), service);
    let mut slow = server.connect().await;
    slow.send(b"GET /v2 HT").await.unwrap();
    assert!(slow.closed_within(LONG).await);
    let text = registry.render(MetricsFormat::Text);
    let line = "adulis_connections_closed_total{listener=\"http\",reason=\"header_timeout\"} 1";
    assert!(text.contains(line), "{text}");
}

/// The head of an inference whose body is so long.
fn head(model: &str, length: usize) -> String {
    format!("POST /v2/models/{model}/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_body_that_trickles_in_is_refused() {
    let pace = Pace { grace: Duration::from_millis(100), bytes_per_second: 10_000, ..Pace::default() };
    let options = HttpOptions { body_pace: pace, ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    let body = json_body(10_000);
    let began = Instant::now();
    let mut slow = server.connect().await;
    let head = head("echo", body.len());
    slow.send(head.as_bytes()).await.unwrap();
    let mut sent = 0;
    while began.elapsed() < LONG && slow.send(&body[sent..sent + 10]).await.is_ok() && sent < 1000 {
        sent += 10;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let response = slow.receive().await.unwrap();
    assert_error(&response, 408, "at least 10000 bytes per second");
    assert!(began.elapsed() < LONG / 2 && sent < body.len() / 10, "{:?}, {sent}", began.elapsed());
    assert!(slow.closed_within(LONG).await);
    // One that keeps the pace may take longer than the grace.
    let mut steady = server.connect().await;
    steady.send(head.as_bytes()).await.unwrap();
    for part in body.chunks(body.len() / 10) {
        steady.send(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(steady.receive().await.unwrap().status, 200);
}

#[tokio::test]
async fn bodies_together_hold_no_more_than_they_may() {
    let bodies = BodyBudget::new(150_000);
    let options = HttpOptions { bodies: bodies.clone(), ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    let body = json_body(20_000);
    let mut held = server.connect().await;
    held.send(&[head("held", body.len()).as_bytes(), &body].concat()).await.unwrap();
    server.service.calls.wait_started(1).await;
    assert_eq!(bodies.held_bytes(), body.len() - 16 * 1024);

    // As soon as it is too much, and not at the length that it is said to have.
    let mut plain = server.connect().await;
    plain.send(head("echo", body.len()).as_bytes()).await.unwrap();
    plain.send(&body[..20_000]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bodies.refused(), 0);
    plain.send(&body[20_000..80_000]).await.unwrap();
    let refused = plain.receive().await.unwrap();
    let inflated = server.infer("echo", &["content-encoding: gzip"], &gzip(&body)).await;
    for refused in [refused, inflated] {
        assert_error(&refused, 503, "server.max_in_flight_bytes");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(bodies.refused(), 2);
    assert_eq!(server.infer("echo", &[], &json_body(1)).await.status, 200);

    server.service.release.add_permits(1);
    assert_eq!(held.receive().await.unwrap().status, 200);
    assert_eq!(server.infer("echo", &["content-encoding: gzip"], &gzip(&body)).await.status, 200);
    assert_eq!(bodies.held_bytes(), 0);
}

/// Digits and commas are a fourth of the numbers that they stand for.
#[tokio::test]
async fn tensors_that_are_longer_than_their_bodies_count_for_what_they_are() {
    let bodies = BodyBudget::new(200_000);
    let options = HttpOptions { bodies: bodies.clone(), ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    let body = |count: usize| {
        let data = vec!["0"; count].join(",");
        format!(
            r#"{{"inputs":[{{"name":"INPUT0","datatype":"INT64","shape":[1,{count}],"data":[{data}]}}]}}"#
        )
        .into_bytes()
    };
    let long = server.infer("echo", &[], &body(30_000)).await;
    assert_error(&long, 413, "server.max_in_flight_bytes");

    let mut held = server.connect().await;
    let request = body(20_000);
    held.send(&[head("held", request.len()).as_bytes(), &request].concat()).await.unwrap();
    server.service.calls.wait_started(1).await;
    assert_eq!(bodies.held_bytes(), 20_000 * 8 - 16 * 1024);
    let second = server.infer("echo", &[], &request).await;
    assert_error(&second, 503, "server.max_in_flight_bytes");
    assert_eq!((second.header("retry-after"), bodies.refused()), (Some("1"), 2));

    server.service.release.add_permits(1);
    assert_eq!(held.receive().await.unwrap().status, 200);
    assert_eq!(bodies.held_bytes(), 0);
    assert_eq!(server.infer("echo", &[], &request).await.status, 200);
}

#[tokio::test]
async fn heads_with_too_many_headers_are_refused() {
    let server = Server::default().await;
    let headers: Vec<String> = (0..110).map(|index| format!("x-{index}: y")).collect();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut connection = server.connect().await;
    assert_eq!(connection.request("GET /v2", &headers, b"").await.unwrap().status, 431);
    assert_eq!(server.connect().await.request("GET /v2", &headers[..90], b"").await.unwrap().status, 200);

    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // Each counts 32 bytes and its name and value.
    let mut many = Request::get("http://test/v2");
    for index in 0..2000 {
        many = many.header(format!("x-{index}"), "y");
    }
    let answer = sender.send_request(many.body(Full::<Bytes>::default()).unwrap()).await;
    // Its own library may see that the server takes no such list.
    if let Ok(answer) = answer {
        assert_eq!(answer.status(), 431);
    }
    assert_eq!(server.get("/v2").await.status, 200);
}

#[tokio::test]
async fn no_answer_is_to_be_taken_for_something_else() {
    let server = Server::default().await;
    for (line, status) in [
        ("GET /v2", 200),
        ("GET /v2/health/live", 200),
        ("GET /v2/nowhere", 404),
        ("DELETE /v2", 405),
        ("GET /v2/models/nobody", 404),
    ] {
        let response = server.connect().await.request(line, &[], b"").await.unwrap();
        assert_eq!(response.status, status, "{line}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{line}");
    }
    let response = server.infer("echo", &[], &json_body(1)).await;
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

fn with_origins(origins: CorsOrigins) -> Server {
    let service = Arc::new(ScriptedService::default());
    let app = router(Arc::clone(&service), HttpOptions::default()).fallback(not_found);
    let options = CorsOptions {
        origins,
        headers: vec![http::header::CONTENT_TYPE],
        max_age: Duration::from_secs(600),
    };
    Server::with_router(with_cors(app, &options), service, ListenerOptions::default())
}

const ORIGIN: &str = "origin: https://app.example";
const ALLOWED: &str = "access-control-allow-origin";

#[tokio::test]
async fn pages_of_other_origins_may_nothing_unless_they_are_named() {
    let off = Server::default().await;
    let preflight = [ORIGIN, "access-control-request-method: POST"];
    let response = off
        .connect()
        .await
        .request("OPTIONS /v2/models/echo/infer", &preflight, b"")
        .await
        .unwrap();
    assert_eq!((response.status, response.header(ALLOWED)), (405, None));
    assert_eq!(off.infer("echo", &[ORIGIN], &json_body(1)).await.header(ALLOWED), None);

    let on = with_origins(CorsOrigins::These(vec!["https://app.example".parse().unwrap()]));
    let response = on
        .connect()
        .await
        .request("OPTIONS /v2/models/echo/infer", &preflight, b"")
        .await
        .unwrap();
    assert_eq!((response.status, response.header(ALLOWED)), (200, Some("https://app.example")));
    assert_eq!(response.header("access-control-max-age"), Some("600"));
    assert_eq!(response.header("access-control-allow-headers"), Some("content-type"));
    assert_eq!(response.header("access-control-allow-credentials"), None);
    let response = on.infer("echo", &[ORIGIN], &json_body(1)).await;
    assert_eq!((response.status, response.header(ALLOWED)), (200, Some("https://app.example")));
    let response = on.infer("echo", &["origin: https://evil.example"], &json_body(1)).await;
    assert_eq!(response.header(ALLOWED), None);

    let all = with_origins(CorsOrigins::Any);
    assert_eq!(all.infer("echo", &[ORIGIN], &json_body(1)).await.header(ALLOWED), Some("*"));
}
