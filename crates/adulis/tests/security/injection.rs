//! What a client says and is told back, and names and paths that lead elsewhere.

use adulis_testing::RawConnection;

use crate::Guarded;

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
    // What is repeated of paths, names and headers stays in the body, or in one line of one header.
    let name = "a%0d%0aset-cookie:%20x=1%0d%0a%0d%0a";
    let header = "set-cookie: x=1";
    for (line, headers) in [
        (format!("GET /v2/{name}"), vec![]),
        (format!("GET /v2/models/{name}"), vec![]),
        (format!("GET /v2/models/digits/versions/{name}"), vec![]),
        (format!("POST /v2/models/{name}/infer"), vec![]),
        (format!("POST /v2/repository/models/{name}/load"), vec![]),
        (
            "GET /v2/models/digits".to_owned(),
            vec![format!("traceparent: {header}"), format!("origin: {header}")],
        ),
        ("POST /v2/models/digits/infer".to_owned(), vec![format!("content-type: {header}")]),
        ("POST /v2/models/digits/infer".to_owned(), vec![format!("content-encoding: {header}")]),
        ("POST /v2/models/digits/infer".to_owned(), vec![format!("x-request-timeout-ms: {header}")]),
        (
            "POST /v2/models/digits/infer".to_owned(),
            vec![format!("inference-header-content-length: {header}")],
        ),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).chain([authorization.as_str()]).collect();
        let answer = guarded.server.connect().await.unwrap().request(&line, &headers, b"{}").await.unwrap();
        let known = [
            "content-type",
            "content-length",
            "date",
            "allow",
            "www-authenticate",
            "retry-after",
            "x-request-id",
            "x-content-type-options",
        ];
        for line in answer.head.lines().skip(1).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            assert!(known.contains(&name) && !value.contains("set-cookie"), "{line:?}");
        }
    }
    for name in ["a\r\nset-cookie: x=1", "a\0b", "a\u{7f}\u{85}b"] {
        let sent = [("authorization", authorization.trim_start_matches("authorization: "))];
        let (code, message) = crate::infer_raw(&guarded.server, &sent, &crate::byte_message(name, 1)).await;
        assert!(
            code > 0 && message.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '),
            "{code} {message:?}"
        );
    }
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

/// Who may do nothing but ask for health reaches nothing else, however the path is written.
#[tokio::test]
async fn paths_are_what_they_say_and_nothing_else() {
    let guarded = Guarded::start("", &[]).await;
    for target in [
        "http://x/v2/logging",
        "http://x:1@y/v2/logging",
        "HTTP://x/v2/health/../logging",
        "http://x/v2/health/live/..%2f..%2flogging",
        "/v2/health/../logging",
        "/v2/health/live/../../logging",
        "/v2/health/..%2flogging",
        "/v2/health/%2e%2e/logging",
        "/v2/health/%2e%2e%2flogging",
        "/v2/health/live/..;/..;/logging",
        "/v2/health/live%00/../../logging",
        "/v2/health/live?/../../logging",
        "/v2/health/live#/../../logging",
        "/v2//logging",
        "//v2/logging",
        "/./v2/logging",
        "/v2/logging/",
        "/v2/logging;x",
        "/v2%2flogging",
        "/V2/Logging",
        "/v2/health/live\\..\\..\\logging",
        "*",
        "v2/logging",
    ] {
        let mut connection = RawConnection::open(guarded.server.address("http").await).await.unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        connection.send(head.as_bytes()).await.unwrap();
        let answer = connection.receive().await.unwrap();
        assert!(!answer.text().contains("log_info"), "{target}: {}", answer.text());
        // What stands behind a path is no part of it.
        let is_health = target.contains("live?") || target.contains("live#");
        assert_eq!(answer.status == 200, is_health, "{target}: {} {}", answer.status, answer.text());
        assert_ne!(answer.status, 500, "{target}: {}", answer.text());
    }
    // The form that proxies are asked in is in order, and asks for what its path says.
    let mut connection = RawConnection::open(guarded.server.address("http").await).await.unwrap();
    connection
        .send(b"GET http://elsewhere/v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(connection.receive().await.unwrap().status, 200);
}
