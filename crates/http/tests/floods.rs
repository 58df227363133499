//! Clients that are a nuisance on purpose: what they do costs them their stream or connection, and others nothing.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use adulis_http::{HttpOptions, ListenerOptions};
use adulis_testing::RawConnection;
use support::{Server, json_body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(10);

/// Source: RFC 9113, sections 4.1 and 6.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

/// The beginning of an HTTP/2 connection.
fn preface() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &frame(SETTINGS, 0, 0, &[])[..],
    ]
    .concat()
}

/// The head of an inference request whose body never comes, and its reset.
///
/// Source of the header block: RFC 7541, the static table and literals without indexing.
fn opened_and_reset(stream: u32) -> Vec<u8> {
    let path = b"/v2/models/echo/infer";
    let block = [&[0x83, 0x86, 0x04, 21][..], path, &[0x01, 1, b'x']].concat();
    [
        frame(HEADERS, END_HEADERS, stream, &block),
        frame(RST_STREAM, 0, stream, &CANCEL),
    ]
    .concat()
}

/// Streams of a client are odd.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|index| index * 2 + 1)
}

async fn is_served(connection: &mut RawConnection) {
    let response = connection.request("POST /v2/models/echo/infer", &[], &json_body(4)).await.unwrap();
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn a_flood_of_reset_streams_ends_its_connection_and_no_other() {
    let server = Server::default().await;
    let mut bystander = server.connect().await;
    is_served(&mut bystander).await;
    for _ in 0..3 {
        let mut flood = server.connect().await;
        let frames: Vec<u8> = streams(10_000).flat_map(opened_and_reset).collect();
        // The server may close while we still send.
        let _ = flood.send(&[preface(), frames].concat()).await;
        assert!(flood.closed_within(LONG).await, "10,000 streams opened and reset");
    }
    is_served(&mut bystander).await;
    is_served(&mut server.connect().await).await;
    let started = server.service.calls.started.load(Ordering::SeqCst);
    assert_eq!(started, 3, "only the bystanders' requests came as far as the service");
}

/// A head that never ends, in frames that are each within the limits.
#[tokio::test]
async fn a_head_without_end_ends_its_connection() {
    let server = Server::default().await;
    let mut flood = server.connect().await;
    // `x: ` and 1,000 letters, a literal without indexing.
    let field = [&[0x00, 1, b'x', 0x7f, 0xe9, 0x06][..], &[b'a'; 1000]].concat();
    let first = frame(HEADERS, 0, 1, &[0x83, 0x86, 0x84]);
    let more: Vec<u8> = (0..20_000).flat_map(|_| frame(CONTINUATION, 0, 1, &field)).collect();
    let _ = flood.send(&[preface(), first, more].concat()).await;
    assert!(flood.closed_within(LONG).await, "20 MB of one head");
    is_served(&mut server.connect().await).await;
    assert_eq!(server.service.calls.started.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn resets_up_to_the_limit_are_suffered() {
    let options = ListenerOptions { max_pending_accept_reset_streams: 500, ..ListenerOptions::default() };
    let server = Server::start(HttpOptions::default(), options).await;
    let mut connection = server.connect().await;
    let frames: Vec<u8> = streams(400).flat_map(opened_and_reset).collect();
    connection.send(&[preface(), frames].concat()).await.unwrap();
    assert!(!connection.closed_within(Duration::from_millis(300)).await);
    is_served(&mut server.connect().await).await;
}

/// Asks for an inference with further headers, and gives the kinds of the frames that come back until the stream or the
/// connection has ended.
async fn ask_with(server: &Server, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let path = b"/v2/models/echo/infer";
    let mut block = [&[0x83, 0x86, 0x04, 21][..], path, &[0x01, 1, b'x']].concat();
    for (name, value) in fields {
        let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
        block.extend([&[0x00, length(name)], *name, &[length(value)], value].concat());
    }
    let request = [
        preface(),
        frame(HEADERS, END_HEADERS, 1, &block),
        frame(DATA, END_STREAM, 1, &json_body(4)),
    ];
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&request.concat()).await.unwrap();
    let mut kinds = Vec::new();
    loop {
        let mut head = [0; 9];
        if timeout(LONG, stream.read_exact(&mut head)).await.unwrap().is_err() {
            return kinds;
        }
        let [high, middle, low, kind, flags, ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        kinds.push(kind);
        let has_ended = [DATA, HEADERS].contains(&kind) && flags & END_STREAM != 0;
        if has_ended || [RST_STREAM, GO_AWAY].contains(&kind) {
            return kinds;
        }
    }
}

/// Bodies are framed by HTTP/2 itself. What says something else, as another server may pass on, is an error.
#[tokio::test]
async fn heads_of_http2_that_say_other_lengths_are_errors() {
    let server = Server::default().await;
    let started = || server.service.calls.started.load(Ordering::SeqCst);
    let length = json_body(4).len().to_string();
    let kinds = ask_with(&server, &[(b"content-length", length.as_bytes())]).await;
    assert!(kinds.contains(&HEADERS) && started() == 1, "{kinds:?}");
    let cases: [&[(&[u8], &[u8])]; 11] = [
        &[(b"content-length", b"1")],
        &[(b"content-length", b"9999")],
        &[(b"content-length", b"x")],
        &[(b"content-length", b"-1")],
        &[(b"transfer-encoding", b"chunked")],
        &[(b"connection", b"close")],
        &[(b"Content-Length", b"4")],
        &[(b"x", b"y\r\nz: w")],
        &[(b"x", b"y\0")],
        &[(b"x y", b"z")],
        &[(b":path", b"/v2/logging")],
    ];
    for fields in cases {
        let kinds = ask_with(&server, fields).await;
        let told: Vec<_> =
            fields.iter().map(|(name, value)| (name.escape_ascii(), value.escape_ascii())).collect();
        assert!(kinds.contains(&RST_STREAM) || kinds.contains(&GO_AWAY), "{told:?}: {kinds:?}");
        assert_eq!(started(), 1, "{told:?}");
    }
    is_served(&mut server.connect().await).await;
}

/// The beginning of a connection, whose answers get as many bytes at first, and a request on stream 1.
fn asked(path: &str, window: u32) -> Vec<u8> {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    let length = u8::try_from(path.len()).unwrap();
    let block = [&[0x82, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 1, b'x']].concat();
    [
        preface(),
        frame(SETTINGS, 0, 0, &settings),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block),
    ]
    .concat()
}

/// Sends the same frame every 10 ms, reads nothing, and says whether the server closed the connection meanwhile.
async fn closed_while_sending(connection: &mut RawConnection, frame: &[u8], patience: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if connection.send(frame).await.is_err() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn an_http2_client_that_does_not_answer_pings_is_closed_whatever_it_sends() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let keep_alive_timeout = Duration::from_millis(50);
    let server = Server::start(
        HttpOptions::default(),
        ListenerOptions { keep_alive_timeout, ..ListenerOptions::default() },
    )
    .await;
    let mut used = server.connect().await;
    used.send(&asked("/v2/health/live", 1 << 16)).await.unwrap();
    assert!(closed_while_sending(&mut used, &ping, LONG).await, "one that was used before");

    let header_read_timeout = Duration::from_millis(50);
    let server = Server::start(
        HttpOptions::default(),
        ListenerOptions { header_read_timeout, ..ListenerOptions::default() },
    )
    .await;
    let mut unused = server.connect().await;
    unused.send(&preface()).await.unwrap();
    assert!(closed_while_sending(&mut unused, &ping, LONG).await, "one that has asked for nothing");
}

#[tokio::test]
async fn an_answer_that_is_taken_too_slowly_ends_its_connection() {
    let options = ListenerOptions {
        keep_alive_timeout: Duration::from_millis(100),
        min_answer_rate: 4000,
        ..ListenerOptions::default()
    };
    let server = Server::start(HttpOptions::default(), options).await;
    for (bytes, patience, is_closed) in [(10_u32, LONG, true), (200, Duration::from_secs(1), false)] {
        let mut client = server.connect().await;
        client.send(&asked("/v2/openapi.json", 0)).await.unwrap();
        let more = frame(WINDOW_UPDATE, 0, 1, &bytes.to_be_bytes());
        let closed = closed_while_sending(&mut client, &more, patience).await;
        assert_eq!(closed, is_closed, "{bytes} bytes every 10 ms");
    }
}
