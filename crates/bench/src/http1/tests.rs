use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;

/// A server that answers each request, whatever it is, with the next of `answers`, and closes after the last.
async fn server(answers: Vec<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0_u8; 1024];
            for answer in &answers {
                if stream.read(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
                // In two pieces, so that heads and bodies arrive cut.
                let (first, second) = answer.split_at(answer.len() / 2);
                stream.write_all(first).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
                stream.write_all(second).await.unwrap();
            }
        }
    });
    address
}

fn client(address: String) -> Http1Client {
    Http1Client::new(Connector::plain(address), Duration::from_millis(500))
}

#[tokio::test]
async fn answers_errors_and_broken_connections_in_turn() {
    let address = server(vec![
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 16\r\n\r\n{\"error\":\"full\"}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
    ])
    .await;
    let mut client = client(address);
    let hello = client.call(b"x", Keep::Body).await.unwrap();
    assert_eq!(&hello.body[..], b"hello");
    let busy = client.call(b"x", Keep::Nothing).await.unwrap_err();
    assert_eq!(busy, Failure::new(FailureKind::Http(503), "full"));
    let chunked = client.call(b"x", Keep::Nothing).await.unwrap();
    assert!(chunked.body.is_empty());
    let short = client.call(b"x", Keep::Nothing).await.unwrap_err();
    assert_eq!(short.kind, FailureKind::Closed);
    // A new connection starts over.
    assert_eq!(&client.call(b"x", Keep::Body).await.unwrap().body[..], b"hello");
}

#[tokio::test]
async fn silence_is_a_timeout_and_nobody_a_failed_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut silent = client(address.clone());
    silent.watchdog = Watchdog::new(Duration::from_millis(40));
    let failure = silent.call(b"x", Keep::Nothing).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    drop(listener);
    let failure = silent.call(b"x", Keep::Nothing).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Connect, "{failure}");
}

proptest! {
    /// Whatever a server sends, cut wherever, reading it ends without a panic and never takes more than there is.
    #[test]
    fn hostile_answers_do_no_harm(
        noise in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b':'), any::<u8>()], 0..200),
        chunked in any::<bool>(),
        cut in 0_usize..200,
    ) {
        let fields: &[u8] = if chunked { b"Transfer-Encoding: chunked" } else { b"Content-Length: 50" };
        let text = [b"HTTP/1.1 200 OK\r\n", fields, b"\r\n\r\n", &noise[..]].concat();
        let _whole_noise = parse_head(&noise);
        let head = parse_head(&text).unwrap().unwrap();
        let body = &text[head.bytes..];
        let mut reader = BodyReader::new(head.length, 10);
        let first = reader.feed(&body[..cut.min(body.len())]).unwrap_or(0);
        let second = reader.feed(&body[first..]).unwrap_or(0);
        prop_assert!(first + second <= body.len());
        let (kept, bytes) = reader.into_kept();
        prop_assert!(kept.len() <= 10 && kept.len() <= bytes && bytes <= body.len());
    }
}
