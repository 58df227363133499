//! The application as a whole: its own routes, backend, middleware and service, beside Adulis's REST and gRPC, on one port.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use adulis_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use adulis_protocol::grpc::{ModelInferRequest, model_infer_request::InferInputTensor};
use adulis_testing::RawConnection;
use embed::Counted;
use futures_util::stream;

async fn start() -> SocketAddr {
    let counted = Counted::default();
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
    let adulis = embed::adulis(models, &counted).unwrap();
    adulis.load();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = embed::app(&adulis, &counted);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn own_routes_backend_middleware_and_service_work_beside_rest_and_grpc() {
    let address = start().await;
    let mut http = RawConnection::open(address).await.unwrap();

    let hello = http.request("GET /hello", &[], b"").await.unwrap();
    assert_eq!((hello.status, hello.text().as_str()), (200, "hello"));
    assert_eq!(hello.header("server"), Some("my-application"), "its middleware stands before its routes");

    let body = br#"{"inputs":[{"name":"IN","shape":[2,3],"datatype":"UINT8","data":[1,2,3,4,5,6]}]}"#;
    let answer = http.request("POST /v2/models/reverse/infer", &[], body).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("[3,2,1,6,5,4]"), "its backend answers: {}", answer.text());
    assert_eq!(
        answer.header("server"),
        Some("my-application"),
        "its middleware stands before Adulis's routes"
    );

    let mut grpc = GrpcInferenceServiceClient::connect(format!("http://{address}")).await.unwrap();
    let input = InferInputTensor {
        name: "IN".to_owned(),
        datatype: "UINT8".to_owned(),
        shape: vec![1, 3],
        ..InferInputTensor::default()
    };
    let request = ModelInferRequest {
        model_name: "reverse".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![vec![7, 8, 9].into()],
        ..ModelInferRequest::default()
    };
    let answer = grpc.model_infer(request.clone()).await.unwrap();
    assert_eq!(answer.metadata().get("server").unwrap(), "my-application");
    assert_eq!(answer.into_inner().raw_output_contents, [[9, 8, 7].as_slice()]);

    let mut answers = grpc.model_stream_infer(stream::iter([request])).await.unwrap().into_inner();
    let streamed = answers.message().await.unwrap().unwrap();
    assert_eq!(streamed.infer_response.unwrap().raw_output_contents, [[9, 8, 7].as_slice()]);

    let counted = http.request("GET /answers", &[], b"").await.unwrap();
    assert_eq!(counted.text(), "3", "its service saw both protocols, and streams");

    // What its service does not answer, the engine does.
    for path in ["GET /v2/models/reverse/config", "GET /v2/models/reverse/stats"] {
        let answer = http.request(path, &[], b"").await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}
