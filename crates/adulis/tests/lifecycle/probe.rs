//! `adulis probe`: what health checks of containers run.

use std::process::{Command, Output};

use adulis_testing::{TestRepository, TestServer};
use tokio::task::spawn_blocking;

use crate::support::{BINARY, byte_model, serve};

async fn probe(arguments: &[&str]) -> (Option<i32>, String) {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || Command::new(BINARY).arg("probe").args(arguments).output();
    let Output { status, stdout, stderr } = spawn_blocking(run).await.unwrap().unwrap();
    assert!(stdout.is_empty(), "{stdout:?}");
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// The server's addresses as URLs of REST and gRPC.
async fn urls(server: &TestServer) -> [String; 2] {
    let (http, grpc) = (server.address("http").await, server.address("grpc").await);
    [format!("http://{http}"), format!("grpc://{grpc}")]
}

#[tokio::test]
async fn a_ready_server_is_well_over_both_protocols() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    let server = serve(&repository, &[]);
    server.ready().await;
    let [http, grpc] = urls(&server).await;
    let model = format!("{http}/v2/models/byte/ready");
    for url in [&http, &format!("{http}/v2/health/ready"), &model, &grpc] {
        assert_eq!(probe(&[url]).await, (Some(0), String::new()), "{url}");
    }
    let (code, said) = probe(&[&format!("{http}/v2/models/gone/ready")]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("HTTP 404"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_not_ready_is_not_well() {
    let repository = TestRepository::new().unwrap();
    repository.onnx("broken", b"").unwrap();
    let server = serve(&repository, &["--engine", "tract"]);
    server.logged(&["not ready: see the models"]).await;
    for url in urls(&server).await {
        let (code, said) = probe(&[&url]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&url) && said.contains("server is not ready"), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_well() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for scheme in ["http", "grpc"] {
        let (code, said) = probe(&[&format!("{scheme}://{address}"), "--timeout", "100ms"]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("timeout"), "{said}");
    }
    drop(listener);
    let (code, said) = probe(&[&format!("http://{address}")]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("connect"), "{said}");
}

#[tokio::test]
async fn what_is_no_url_is_a_mistake_of_usage() {
    for url in ["ftp://a", "https://", "http://"] {
        let (code, said) = probe(&[url]).await;
        assert_eq!(code, Some(2), "{url}: {said}");
    }
}
