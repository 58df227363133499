//! Routes of shared memory over a scripted service.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;

use adulis_http::{HttpOptions, ListenerOptions, router};
use adulis_shared_memory::SystemSharedMemory;
use adulis_testing::{RawResponse, ScriptedService, SharedObject};
use adulis_types::{Services, SharedMemory};
use serde_json::{Value, json};
use support::{Server, assert_error};

fn sharing() -> Server {
    let service = Arc::new(ScriptedService::default());
    let memory: Arc<dyn SharedMemory> = Arc::new(SystemSharedMemory::default());
    let services = Services { shared_memory: Some(memory), ..Services::from(Arc::clone(&service)) };
    Server::with_router(router(services, HttpOptions::default()), service, ListenerOptions::default())
}

async fn post(server: &Server, path: &str, body: &[u8]) -> RawResponse {
    server.connect().await.request(&format!("POST {path}"), &[], body).await.unwrap()
}

async fn register(server: &Server, name: &str, object: &SharedObject) -> RawResponse {
    let body = json!({"key": object.key(), "offset": 4, "byte_size": 12});
    let path = format!("/v2/systemsharedmemory/region/{name}/register");
    post(server, &path, body.to_string().as_bytes()).await
}

fn assert_done(response: &RawResponse) {
    assert_eq!((response.status, &response.body[..]), (200, &b""[..]), "{}", response.text());
}

async fn regions(server: &Server, path: &str) -> Value {
    let response = server.get(&format!("/v2/systemsharedmemory{path}/status")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).unwrap()
}

#[tokio::test]
async fn regions_are_registered_listed_and_forgotten() {
    let server = sharing();
    let object = SharedObject::new(&[0; 16]).unwrap();
    assert_eq!(regions(&server, "").await, json!([]));
    assert_done(&register(&server, "b", &object).await);
    assert_done(&register(&server, "a%2F%C3%A9", &object).await);
    let expected = |name: &str| json!({"name": name, "key": object.key(), "offset": 4, "byte_size": 12});
    assert_eq!(regions(&server, "").await, json!([expected("a/é"), expected("b")]));
    assert_eq!(regions(&server, "/region/a%2F%C3%A9").await, json!([expected("a/é")]));
    assert_error(&register(&server, "b", &object).await, 400, "shared memory region 'b' already in manager");

    assert_done(&post(&server, "/v2/systemsharedmemory/region/b/unregister", b"").await);
    assert_done(&post(&server, "/v2/systemsharedmemory/region/b/unregister", b"").await);
    assert_error(&server.get("/v2/systemsharedmemory/region/b/status").await, 404, "'b'");
    assert_eq!(regions(&server, "").await, json!([expected("a/é")]));
    assert_done(&post(&server, "/v2/systemsharedmemory/unregister", b"").await);
    assert_eq!(regions(&server, "").await, json!([]));
}

#[tokio::test]
async fn what_cannot_be_registered_is_told_why() {
    let server = sharing();
    let path = "/v2/systemsharedmemory/region/r/register";
    for (body, part) in [
        (&b""[..], "invalid JSON"),
        (b"{\"key\":\"/k\"}", "missing 'byte_size'"),
        (b"{\"key\":\"/k\",\"byte_size\":-1}", "'byte_size': expected a whole number"),
        (b"{\"key\":\"/../k\",\"byte_size\":1}", "'r': bad key: it is a path"),
        (
            b"{\"key\":\"/adulis-test-none\",\"byte_size\":1}",
            "'r': cannot open key '/adulis-test-none'",
        ),
    ] {
        assert_error(&post(&server, path, body).await, 400, part);
    }
    assert_error(&post(&server, path, &[b' '; 20_000]).await, 413, "over the limit");
    assert_error(&server.get(path).await, 405, "not allowed");
    assert_error(&post(&server, "/v2/systemsharedmemory/status", b"").await, 405, "not allowed");
    assert_error(&server.get("/v2/systemsharedmemory").await, 404, "no such route");
}

#[tokio::test]
async fn tensors_come_from_and_go_to_their_regions() {
    let server = sharing();
    let object = SharedObject::new(b"....\x01\x02\x03\x04________").unwrap();
    assert_done(&register(&server, "r", &object).await);
    let place = |offset: u64| json!({"shared_memory_region": "r", "shared_memory_offset": offset, "shared_memory_byte_size": 4});
    let body = json!({
        "inputs": [{"name": "X", "datatype": "UINT8", "shape": [4], "parameters": place(0)}],
        "outputs": [{"name": "X", "parameters": place(8)}],
    });
    let response = server.infer("echo", &[], body.to_string().as_bytes()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    let expected = json!({"name": "X", "datatype": "UINT8", "shape": [4]});
    assert_eq!(answer["outputs"], json!([expected]));
    assert_eq!(object.read(0, 16).unwrap(), b"....\x01\x02\x03\x04____\x01\x02\x03\x04");
}

#[tokio::test]
async fn cuda_has_no_regions() {
    let server = sharing();
    let base = "/v2/cudasharedmemory";
    assert_eq!(server.get(&format!("{base}/status")).await.body, b"[]");
    assert_error(
        &server.get(&format!("{base}/region/g/status")).await,
        404,
        "cuda shared memory region: 'g'",
    );
    for path in ["/unregister", "/region/g/unregister"] {
        assert_done(&post(&server, &format!("{base}{path}"), b"").await);
    }
    let body = br#"{"raw_handle":{"b64":"aGFuZGxl"},"device_id":0,"byte_size":64}"#;
    let response = post(&server, &format!("{base}/region/g/register"), body).await;
    assert_error(&response, 501, "cuda shared memory region 'g': this server opens no memory of a GPU");
}

#[tokio::test]
async fn extensions_say_whether_it_is_on() {
    for (server, on) in [(sharing(), true), (Server::default().await, false)] {
        let metadata: Value = serde_json::from_slice(&server.get("/v2").await.body).unwrap();
        let names = metadata["extensions"].as_array().unwrap();
        for name in ["system_shared_memory", "cuda_shared_memory"] {
            assert_eq!(names.contains(&name.into()), on, "{names:?}");
        }
    }
}

#[tokio::test]
async fn where_it_is_off_there_is_nothing_to_forget() {
    let server = Server::default().await;
    let object = SharedObject::new(&[0; 16]).unwrap();
    assert_error(&register(&server, "r", &object).await, 501, "'r': shared memory is off on this server");
    assert_eq!(regions(&server, "").await, json!([]));
    assert_error(&server.get("/v2/systemsharedmemory/region/r/status").await, 404, "'r'");
    assert_done(&post(&server, "/v2/systemsharedmemory/unregister", b"").await);
    assert_done(&post(&server, "/v2/systemsharedmemory/region/r/unregister", b"").await);
}
