//! Requests that two servers in a row would read differently, and names that lead elsewhere.

use std::time::Duration;

use adulis_testing::RawConnection;

use crate::Guarded;

/// Sends bytes, and says how the first answer begins, and whether a second request on the same connection was answered well.
async fn send(guarded: &Guarded, bytes: &[u8]) -> (Option<u16>, bool) {
    let mut connection = RawConnection::open(guarded.server.address("http").await).await.unwrap();
    connection.send(bytes).await.unwrap();
    let first = connection.receive().await.ok().map(|answer| answer.status);
    let second = tokio::time::timeout(Duration::from_millis(300), connection.receive()).await;
    (first, matches!(second, Ok(Ok(answer)) if answer.status == 200))
}

#[tokio::test]
async fn bodies_of_two_lengths_are_refused_and_hide_no_second_request() {
    let guarded = Guarded::start("", &[]).await;
    let hidden = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let line = "POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\n";
    for headers in [
        "content-length: 4\r\ncontent-length: 50\r\n\r\n",
        "content-length: 4, 50\r\n\r\n",
        "content-length: +4\r\n\r\n",
        "content-length: 0x4\r\n\r\n",
        "content-length: -1\r\n\r\n",
        "content-length: 99999999999999999999\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n",
        "transfer-encoding: xchunked\r\n\r\n",
        "transfer-encoding : chunked\r\n\r\n",
        "content-length : 4\r\n\r\n",
        " content-length: 4\r\n\r\n",
        "transfer-encoding:\x0bchunked\r\n\r\n",
        "x: y\n\ncontent-length: 4\r\n\r\n",
        "x\0y: z\r\n\r\n",
    ] {
        let (first, second) = send(&guarded, format!("{line}{headers}{hidden}").as_bytes()).await;
        assert!(first.is_none_or(|status| status >= 400), "{headers:?}: {first:?}");
        assert!(!second, "{headers:?}: the hidden request was answered");
    }
    // Of both lengths the transfer coding counts, as HTTP has it: what lies behind its end is another request.
    let both = "content-length: 400\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let (first, _) = send(&guarded, format!("{line}{both}").as_bytes()).await;
    assert!(first.is_some_and(|status| status >= 400), "{first:?}");
    assert_eq!(guarded.server.get("/v2/health/live").await.unwrap().status, 200);
}

#[tokio::test]
async fn header_values_break_no_line_of_answer_or_log() {
    let guarded = Guarded::start("", &["--set", "log.access=true", "--set", "log.filter=debug"]).await;
    let (_, key) = guarded.key(&["--scope", "infer"]);
    let authorization = format!("authorization: Bearer {key}");
    for id in ["a\tb", "a b", "\u{85}x", "a\u{2028}b", "<script>", "\u{1b}[31m"] {
        let header = format!("x-request-id: {id}");
        let answer = guarded
            .server
            .infer("digits", &[&authorization, &header], &crate::byte_json(1))
            .await
            .unwrap();
        let told = answer.header("x-request-id").unwrap_or_default();
        assert!(told.is_empty() || told.bytes().all(|byte| byte.is_ascii_graphic()), "{told:?}");
    }
    let answer = guarded.server.get("/v2/%0d%0aset-cookie:%20x=1").await.unwrap();
    assert!(!answer.head.contains("set-cookie"), "{}", answer.head);
    for line in guarded.server.log().lines() {
        let parsed = serde_json::from_str::<serde_json::Value>(line);
        assert!(parsed.is_ok(), "a line of the log is no JSON: {line}");
    }
}

#[tokio::test]
async fn names_of_models_lead_nowhere_else() {
    let guarded = Guarded::start("", &[]).await;
    let (_, key) = guarded.key(&["--scope", "admin"]);
    let secret = guarded.folder.path().join("adulis.db");
    assert!(secret.exists());
    for name in [
        "..%2F..%2Fetc%2Fpasswd",
        "..",
        "%2e%2e",
        "%2Fetc%2Fpasswd",
        "digits%2F..%2F..",
        "..%5C..",
        "digits%00",
        "%00",
        ".",
        "~",
        "C%3A",
    ] {
        for line in [
            format!("POST /v2/repository/models/{name}/load"),
            format!("POST /v2/repository/models/{name}/unload"),
            format!("GET /v2/models/{name}"),
            format!("GET /v2/models/{name}/config"),
        ] {
            let answer = guarded.ask(&line, &key, "").await;
            let is_unload = line.ends_with("/unload");
            assert!(answer.status >= 400 || is_unload, "{line}: {} {}", answer.status, answer.text());
            assert_ne!(answer.status, 500, "{line}: {}", answer.text());
            assert!(!answer.text().contains("root:"), "{line}");
        }
    }
    // Files that come with a request stay in their folder.
    let target = guarded.folder.path().join("planted.onnx");
    let up = "../".repeat(12);
    for path in [
        format!("{up}{}", target.display()),
        target.display().to_string(),
        "1/../../x".to_owned(),
    ] {
        let body = serde_json::json!({ "parameters": { "config": "{\"backend\":\"identity\"}", format!("file:{path}"): "AAAA" } });
        let answer = guarded.ask("POST /v2/repository/models/digits/load", &key, &body.to_string()).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
    assert!(!target.exists());
}
