//! The generate extension over a scripted service: one answer, many as events, errors before and between them, clients that go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{Server, assert_error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A body for `rows` rows of the scripted models' input.
fn body(rows: usize) -> String {
    let values: Vec<String> = (0..rows * 16).map(|value| value.to_string()).collect();
    format!(r#"{{"id":"me","INPUT0":[{}],"temperature":0.5}}"#, values.join(","))
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v2/models/{path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

/// Status line and headers in lower case, and the events of a body that came in chunks.
async fn stream(server: &Server, model: &str, headers: &str, body: &str) -> (String, Vec<String>) {
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let request = post(&format!("{model}/generate_stream"), headers, body);
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    let read = connection.read_to_string(&mut response);
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    if !head.contains("transfer-encoding: chunked") {
        return (head, vec![body.to_owned()]);
    }
    // A length, a line end, as many bytes, a line end; a length of 0 is the last.
    let (mut rest, mut text) = (body, String::new());
    loop {
        let (length, data) = rest.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        text.push_str(&data[..length]);
        rest = &data[length + 2..];
        if length == 0 {
            break;
        }
    }
    let events = text
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("data: ").unwrap().to_owned());
    (head, events.collect())
}

#[tokio::test]
async fn one_answer_is_an_object_with_the_outputs_by_name() {
    let server = Server::default().await;
    for path in ["echo/generate", "echo/versions/1/generate", "each/generate"] {
        let line = format!("POST /v2/models/{path}");
        let response = server.connect().await.request(&line, &[], body(1).as_bytes()).await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("application/json"));
        let answer: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((&answer["id"], &answer["model_version"]), (&"me".into(), &"1".into()));
        assert_eq!(answer["INPUT0"].as_array().unwrap().len(), 16);
    }
    let request = server.service.last.lock().clone().unwrap();
    assert!(request.parameters.get("temperature").is_some());
    assert_eq!(request.inputs[0].tensor.shape()[..], [1, 16]);
}

#[tokio::test]
async fn any_other_number_of_answers_is_an_error_there() {
    let server = Server::default().await;
    for rows in [0, 2] {
        let line = "POST /v2/models/each/generate";
        let response = server.connect().await.request(line, &[], body(rows).as_bytes()).await.unwrap();
        assert_error(&response, 400, "model 'each': generate expects model to produce exactly 1 response");
    }
}

#[tokio::test]
async fn every_answer_is_an_event() {
    let server = Server::default().await;
    for (model, rows) in [("each", 3), ("each", 0), ("echo", 1)] {
        let (head, events) = stream(&server, model, "accept: text/event-stream\r\n", &body(rows)).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream; charset=utf-8"), "{head}");
        assert_eq!(events.len(), rows, "{model}");
        for (row, event) in (0_u32..).zip(&events) {
            let answer: serde_json::Value = serde_json::from_str(event).unwrap();
            assert_eq!(
                (&answer["id"], answer["INPUT0"][0].as_f64()),
                (&"me".into(), Some(f64::from(row * 16)))
            );
        }
    }
}

#[tokio::test]
async fn nan_and_infinities_are_written_as_the_request_wishes() {
    let server = Server::default().await;
    let values = [r#""NaN","Infinity""#, &["0"; 14].join(",")].join(",");
    for (wish, written) in [
        ("", r#"["NaN","Infinity",0.0,"#),
        (r#","non_finite":"literal""#, "[NaN,Infinity,0.0,"),
        (r#","parameters":{"non_finite":"null"}"#, "[null,null,0.0,"),
    ] {
        let body = format!(r#"{{"INPUT0":[{values}]{wish}}}"#);
        let line = "POST /v2/models/echo/generate";
        let answer = server.connect().await.request(line, &[], body.as_bytes()).await.unwrap();
        assert!(answer.text().contains(written), "{wish}: {}", answer.text());
        for model in ["echo", "each"] {
            let (_, events) = stream(&server, model, "", &body).await;
            assert!(events.len() == 1 && events[0].contains(written), "{model} {wish}: {events:?}");
        }
    }
}

#[tokio::test]
async fn an_error_of_the_model_is_the_last_event_and_decides_the_status_where_it_is_the_first() {
    let server = Server::default().await;
    for (model, rows, status) in [("each-fails", 2, 200), ("each-fails", 0, 500), ("panic", 1, 500)] {
        let (head, events) = stream(&server, model, "", &body(rows)).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{model}: {head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        let last: serde_json::Value = serde_json::from_str(events.last().unwrap()).unwrap();
        assert!(last["error"].is_string() && last.as_object().unwrap().len() == 1, "{last}");
        assert_eq!(events.len(), if model == "panic" { 1 } else { rows + 1 });
    }
}

#[tokio::test]
async fn what_is_refused_before_the_model_runs_is_an_ordinary_error() {
    let server = Server::default().await;
    for route in ["generate", "generate_stream"] {
        for (model, headers, body, status, message) in [
            ("nobody", &[][..], body(1), 404, "unknown model"),
            ("echo", &[], "{".to_owned(), 400, "invalid JSON"),
            ("echo", &[], r#"{"INPUT0":[1]}"#.to_owned(), 400, "1 values cannot be laid out as [-1,16]"),
            ("echo", &["content-type: application/x-protobuf"], body(1), 415, "application/json"),
            ("fail-overloaded", &[], body(1), 503, "overloaded"),
            ("slow", &["x-request-timeout-ms: 30"], body(1), 504, "did not answer within"),
        ] {
            let line = format!("POST /v2/models/{model}/{route}");
            let response = server.connect().await.request(&line, headers, body.as_bytes()).await.unwrap();
            assert_error(&response, status, message);
        }
        let response = server.get(&format!("/v2/models/echo/{route}")).await;
        assert_eq!((response.status, response.header("allow")), (405, Some("POST")));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_request() {
    let server = Server::default().await;
    for (count, route) in [(1, "generate"), (2, "generate_stream")] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection
            .write_all(post(&format!("slow/{route}"), "", &body(1)).as_bytes())
            .await
            .unwrap();
        server.service.calls.wait_started(count).await;
        drop(connection);
        server.service.calls.wait_cancelled(count).await;
    }
}
