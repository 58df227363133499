//! Requests that two servers in a row would read differently, and names that lead elsewhere.

use std::time::Duration;

use adulis_testing::RawConnection;

use crate::Guarded;

/// What hides behind a request: it is answered 200 where somebody takes it for one.
const HIDDEN: &str = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";

/// Sends bytes and what hides behind them, and says how the first answer begins, whether it says that the connection ends, and
/// whether the hidden request was answered.
async fn send(guarded: &Guarded, bytes: &[u8]) -> (Option<u16>, bool, bool) {
    let mut connection = RawConnection::open(guarded.server.address("http").await).await.unwrap();
    connection.send(&[bytes, HIDDEN.as_bytes()].concat()).await.unwrap();
    let first = connection.receive().await.ok();
    let closes = first.as_ref().is_some_and(|answer| answer.header("connection") == Some("close"));
    let second = tokio::time::timeout(Duration::from_millis(300), connection.receive()).await;
    (
        first.map(|answer| answer.status),
        closes,
        matches!(second, Ok(Ok(answer)) if answer.status == 200),
    )
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways_are_refused_and_hide_no_second_request() {
    let guarded = Guarded::start("", &[]).await;
    // A request that is answered 200 if its head is taken, since anybody may ask it.
    let line = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n";
    assert_eq!(send(&guarded, format!("{line}\r\n").as_bytes()).await, (Some(200), false, true));
    for headers in [
        // Two lengths, and what is none.
        "content-length: 4\r\ncontent-length: 50\r\n\r\n",
        "content-length: 4, 50\r\n\r\n",
        "content-length: 4, 4\r\n\r\n",
        "content-length: +4\r\n\r\n",
        "content-length: 0x4\r\n\r\n",
        "content-length: -1\r\n\r\n",
        "content-length: 4 4\r\n\r\n",
        "content-length:\r\n\r\n",
        "content-length: 99999999999999999999\r\n\r\n",
        // Codings whose end nobody knows, or that are written so that one of two servers overlooks them.
        "transfer-encoding: chunked, identity\r\n\r\n",
        "transfer-encoding: identity\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n",
        "transfer-encoding: xchunked\r\n\r\n",
        "transfer-encoding: \"chunked\"\r\n\r\n",
        "transfer-encoding:\x0bchunked\r\n\r\n",
        "transfer-encoding: chunked\x0b\r\n\r\n",
        "transfer-encoding : chunked\r\n\r\n",
        "transfer-encoding\t: chunked\r\n\r\n",
        "content-length : 4\r\n\r\n",
        // A line that goes on in the next one.
        " content-length: 4\r\n\r\n",
        "x: y\r\n content-length: 4\r\n\r\n",
        "x: y\r\n\ttransfer-encoding: chunked\r\n\r\n",
        // Ends of lines that are none, and bytes that end texts.
        "x: y\rcontent-length: 4\r\n\r\n",
        "x: y\r\rz\r\n\r\n",
        "x\0y: z\r\n\r\n",
        "x: y\0z\r\n\r\n",
        "x: y\x7fz\r\n\r\n",
        ": y\r\n\r\n",
        "x\r\n\r\n",
        "x y: z\r\n\r\n",
        "\u{e9}: z\r\n\r\n",
    ] {
        let (first, closes, second) = send(&guarded, format!("{line}{headers}").as_bytes()).await;
        assert_eq!(first, Some(400), "{headers:?}");
        assert!(closes && !second, "{headers:?}: what lies behind was read");
    }
    for line in [
        "GET /v2/health/live HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /v2/health/live HTTP/1.2\r\nhost: x\r\n\r\n",
        "GET /v2/health/live HTTP/1.1 \r\nhost: x\r\n\r\n",
        "GET /v2/health/live\r\nhost: x\r\n\r\n",
        "GET /v2/health/live x HTTP/1.1\r\nhost: x\r\n\r\n",
        "G\0T /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v2/health/live\0 HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let (first, _, second) = send(&guarded, line.as_bytes()).await;
        assert!(first == Some(400) && !second, "{line:?}: {first:?} {second}");
    }
}

/// Of a length and a transfer coding the latter counts, whichever comes first. Another server may have taken the former, so that
/// what lies behind is not read.
#[tokio::test]
async fn behind_a_request_with_a_length_and_a_coding_nothing_is_read() {
    let guarded = Guarded::start("", &[]).await;
    let (_, key) = guarded.key(&["--scope", "infer"]);
    let head = format!("POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n");
    let body = crate::byte_json(1);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let coding = "transfer-encoding: chunked\r\n";
    let alone = send(&guarded, format!("{head}{coding}\r\n{chunked}").as_bytes()).await;
    assert_eq!(alone, (Some(200), false, true), "a coding alone is in order");
    let length = format!("content-length: {}\r\n", chunked.len() + HIDDEN.len());
    for headers in [
        format!("{length}{coding}"),
        format!("{coding}{length}"),
        format!("content-length: 0\r\n{coding}"),
        format!("{coding}content-length: x\r\n"),
        format!("{length}{coding}{length}"),
    ] {
        let both = send(&guarded, format!("{head}{headers}\r\n{chunked}").as_bytes()).await;
        assert_eq!(both, (Some(200), true, false), "{headers:?}");
    }
}

#[tokio::test]
async fn chunks_that_can_be_read_in_two_ways_are_refused() {
    let guarded = Guarded::start("", &[]).await;
    let (_, key) = guarded.key(&["--scope", "infer"]);
    let head = format!(
        "POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let body = crate::byte_json(1);
    let size = format!("{:x}", body.len());
    for chunks in [
        format!("0x{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("+{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("-{size}\r\n{body}\r\n0\r\n\r\n"),
        format!(" {size}\r\n{body}\r\n0\r\n\r\n"),
        format!("{size} 0\r\n{body}\r\n0\r\n\r\n"),
        format!("1{:0>17}\r\n{body}\r\n0\r\n\r\n", size),
        format!("{size};a\nb\r\n{body}\r\n0\r\n\r\n"),
        format!("{size}\n{body}\n0\n\n"),
        format!("{size}\r\n{body}0\r\n\r\n"),
        format!("{size}\r\n{body}xx0\r\n\r\n"),
        format!("\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let (first, _, second) = send(&guarded, format!("{head}{chunks}").as_bytes()).await;
        assert!(first.is_none_or(|status| status == 400) && !second, "{chunks:?}: {first:?} {second}");
    }
    assert_eq!(guarded.server.get("/v2/health/live").await.unwrap().status, 200);
}
