//! Configuration, statistics and the model repository over a scripted service.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use adulis_http::{HttpOptions, ListenerOptions};
use adulis_testing::RawResponse;
use support::{Server, assert_error, gzip};

async fn post(server: &Server, path: &str, body: &str) -> RawResponse {
    server
        .connect()
        .await
        .request(&format!("POST {path}"), &[], body.as_bytes())
        .await
        .unwrap()
}

fn value(response: &RawResponse) -> serde_json::Value {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).unwrap()
}

#[tokio::test]
async fn a_configuration_is_the_document_it_is() {
    let server = Server::default().await;
    for path in [
        "/v2/models/echo/config",
        "/v2/models/echo/versions/1/config?stray=1",
    ] {
        let config = value(&server.get(path).await);
        assert_eq!(config, serde_json::json!({"name": "echo", "max_batch_size": 8}));
    }
    let named = value(&server.get("/v2/models/a%20name%2Fwith%20%C3%A9/config").await);
    assert_eq!(named["name"], "a name/with é");
    assert_error(&server.get("/v2/models/nobody/config").await, 404, "unknown model");
    assert_error(&server.get("/v2/models/echo/versions/7/config").await, 404, "no version 7");
    assert_error(&post(&server, "/v2/models/echo/config", "").await, 405, "not allowed");
}

#[tokio::test]
async fn statistics_of_one_model_and_of_all() {
    let server = Server::default().await;
    for path in ["/v2/models/echo/stats", "/v2/models/echo/versions/1/stats"] {
        let models = &value(&server.get(path).await)["model_stats"];
        assert_eq!(models.as_array().unwrap().len(), 1);
        assert_eq!(models[0]["version"], "1");
        assert_eq!(models[0]["inference_stats"]["success"], serde_json::json!({"count": 3, "ns": 300}));
        assert_eq!(models[0]["inference_stats"]["cache_miss"], serde_json::json!({"count": 0, "ns": 0}));
    }
    let all = &value(&server.get("/v2/models/stats?x").await)["model_stats"];
    assert_eq!((&all[0]["name"], &all[1]["name"]), (&"echo".into(), &"held".into()));
    assert_error(&server.get("/v2/models/nobody/stats").await, 404, "unknown model");
}

#[tokio::test]
async fn the_index_of_all_models_and_of_those_that_are_ready() {
    let server = Server::default().await;
    for (path, body) in [
        ("/v2/repository/index", ""),
        ("/v2/repository/index?stray", "{}"),
        ("/v2/repository/here/index", r#"{"ready":false}"#),
    ] {
        let index = value(&post(&server, path, body).await);
        assert_eq!(
            index,
            serde_json::json!([
                {"name": "echo", "version": "1", "state": "READY"},
                {"name": "gone", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
                {"name": "loading", "version": "1", "state": "LOADING"},
                {"name": "new"},
            ])
        );
    }
    let ready = value(&post(&server, "/v2/repository/index", r#"{"ready":true}"#).await);
    assert_eq!(ready.as_array().unwrap().len(), 1);
    assert_error(&post(&server, "/v2/repository/index", "[").await, 400, "JSON");
    assert_error(&post(&server, "/v2/repository/index", r#"{"ready":1}"#).await, 400, "'ready'");
    assert_error(&server.get("/v2/repository/index").await, 405, "not allowed");
}

#[tokio::test]
async fn models_are_loaded_with_an_empty_answer() {
    let server = Server::default().await;
    let body = r#"{"parameters":{"config":"{\"name\":\"m\"}","file:1/model.onnx":"bW9kZWw="}}"#;
    for (path, body) in [
        ("/v2/repository/models/a%20m/load", body),
        ("/v2/repository/models/m/load?stray=1", ""),
    ] {
        let response = post(&server, path, body).await;
        assert_eq!((response.status, response.body.len()), (200, 0), "{}", response.text());
    }
    let mut connection = server.connect().await;
    let line = "POST /v2/repository/models/m/load";
    let packed = connection
        .request(line, &["content-encoding: gzip"], &gzip(body.as_bytes()))
        .await
        .unwrap();
    assert_eq!(packed.status, 200, "{}", packed.text());
    let loads = server.service.loads.lock();
    assert_eq!(loads[0].name, "a m");
    assert_eq!(loads[0].config.as_deref(), Some(&br#"{"name":"m"}"#[..]));
    assert_eq!(loads[0].files, [("1/model.onnx".into(), bytes::Bytes::from_static(b"model"))]);
    assert_eq!((&loads[1].config, loads[1].files.len()), (&None, 0));
    assert_eq!(loads[2].files, loads[0].files);
}

#[tokio::test]
async fn what_cannot_be_loaded_says_why() {
    let server = Server::default().await;
    for (path, body, status, says) in [
        ("models/nobody", "", 400, "failed to load"),
        ("models/fail-unavailable", "", 503, "asked to fail"),
        ("here/models/m", "", 501, "'here'"),
        ("models/m", "{", 400, "JSON"),
        ("models/m", r#"{"parameters":{"file:a":"AA=="}}"#, 400, "'config'"),
        ("models/m", r#"{"parameters":{"config":"{}","file:a":"A"}}"#, 400, "base64"),
        ("models/%ff", "", 400, "UTF-8"),
    ] {
        let path = format!("/v2/repository/{path}/load");
        assert_error(&post(&server, &path, body).await, status, says);
    }
    assert!(server.service.loads.lock().is_empty());
}

#[tokio::test]
async fn bodies_of_loads_have_a_limit_of_their_own() {
    let options = HttpOptions { max_body_bytes: 100, max_load_bytes: 1000, ..HttpOptions::default() };
    let server = Server::start(options, ListenerOptions::default()).await;
    let body = |length| format!(r#"{{"parameters":{{"config":"{}"}}}}"#, "x".repeat(length));
    assert_eq!(post(&server, "/v2/repository/models/m/load", &body(500)).await.status, 200);
    assert_error(&post(&server, "/v2/repository/models/m/load", &body(1000)).await, 413, "1000 bytes");
    assert_error(&post(&server, "/v2/repository/models/m/unload", &body(500)).await, 413, "100 bytes");
}

#[tokio::test]
async fn models_are_unloaded_with_an_empty_answer() {
    let server = Server::default().await;
    for body in ["", r#"{"parameters":{"unload_dependents":true}}"#] {
        let response = post(&server, "/v2/repository/models/m/unload", body).await;
        assert_eq!((response.status, response.body.len()), (200, 0), "{}", response.text());
    }
    {
        let unloads = server.service.unloads.lock();
        assert_eq!(unloads.iter().map(|one| one.unload_dependents).collect::<Vec<_>>(), [false, true]);
    }
    let wrong = r#"{"parameters":{"unload_dependents":"yes"}}"#;
    assert_error(&post(&server, "/v2/repository/models/m/unload", wrong).await, 400, "unload_dependents");
    assert_error(&post(&server, "/v2/repository/r/models/m/unload", "").await, 501, "'r'");
}
