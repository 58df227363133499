//! Starting: addresses, arguments and what is wrong with them.

use std::net::TcpListener;
use std::time::Duration;

use adulis_protocol::grpc::ServerReadyRequest;
use adulis_testing::{TestRepository, TestServer};

use crate::support::{BINARY, byte_json, byte_message, byte_model, grpc, serve};

const SOON: Duration = Duration::from_secs(20);

/// A server that is expected to give up: its exit code and what it said.
async fn gives_up(arguments: &[&str]) -> (Option<i32>, String) {
    let mut server = TestServer::start(BINARY, arguments).unwrap();
    let status = server.exit(SOON).await.unwrap();
    // The last words may still be on their way through the pipe.
    tokio::time::sleep(Duration::from_millis(100)).await;
    (status.code(), server.log())
}

fn one_model() -> TestRepository {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    repository
}

#[tokio::test]
async fn rest_and_grpc_share_a_port() {
    let repository = one_model();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let server = serve(&repository, &["--http", &port, "--grpc", &port]);
    server.ready().await;
    assert_eq!(server.address("http").await, server.address("grpc").await);

    let answer = server.infer("byte", &[], &byte_json(7)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut client = grpc(&server).await;
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().get_ref().ready);
    let answer = client.model_infer(byte_message("byte", 7)).await.unwrap().into_inner();
    assert_eq!(answer.raw_output_contents, [vec![7]]);
}

#[tokio::test]
async fn the_metrics_port_answers() {
    let repository = one_model();
    let server = serve(&repository, &[]);
    server.ready().await;
    let answer = server.infer("byte", &[], &byte_json(7)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ok = server
        .metric("adulis_inference_requests_total", &["model=\"byte\"", "outcome=\"ok\""])
        .await;
    assert_eq!(ok.unwrap(), 1.0);
    assert_eq!(server.metric("adulis_model_ready", &["model=\"byte\""]).await.unwrap(), 1.0);
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_flag() {
    let repository = one_model();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let path = repository.path().to_str().unwrap();
    for flag in ["--http", "--grpc", "--metrics"] {
        let (code, said) = gives_up(&[path, flag, &address]).await;
        assert_eq!(code, Some(1), "{said}");
        for text in [&address, flag, "ADDR:PORT", "in use"] {
            assert!(said.contains(text), "{text:?} is not in: {said}");
        }
    }
}

#[tokio::test]
async fn no_paths_are_a_mistake_of_usage() {
    let (code, said) = gives_up(&[]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("adulis serve PATH"), "{said}");
}

#[tokio::test]
async fn a_path_that_is_not_there_is_a_mistake_of_usage() {
    let (code, said) = gives_up(&["/no/such/models"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/no/such/models"), "{said}");
}

#[tokio::test]
async fn a_folder_without_a_model_is_told_with_the_layout_that_was_expected() {
    let repository = TestRepository::new().unwrap();
    std::fs::create_dir(repository.path().join("pictures")).unwrap();
    let server = serve(&repository, &[]);
    server.ready().await;
    let folder = repository.path().to_str().unwrap();
    server
        .logged(&[
            "WARN",
            folder,
            "no model was found in this folder",
            "MODEL/1/model.onnx",
        ])
        .await;
    server.logged(&["WARN", "ready, and no model to serve"]).await;
}

#[tokio::test]
async fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    let repository = one_model();
    let file = repository.path().join("adulis.toml");
    std::fs::write(&file, "[server]\nmax_body_byte = \"1MiB\"\n").unwrap();
    let path = repository.path().join("byte");
    let (code, said) = gives_up(&[path.to_str().unwrap(), "--config", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(2), "{said}");
    for text in ["max_body_byte", "max_body_bytes", "adulis.toml"] {
        assert!(said.contains(text), "{text:?} is not in: {said}");
    }
}
