//! What the integration tests share: requests of a byte, over REST and gRPC.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use adulis_protocol::grpc::model_infer_request::InferInputTensor;
use adulis_protocol::grpc::{GrpcInferenceServiceClient, ModelInferRequest};
use adulis_testing::{IdentityModel, TestRepository, TestServer};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::Channel;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_adulis");

pub(crate) type Client = GrpcInferenceServiceClient<Channel>;

/// Serves a folder, with further arguments.
pub(crate) fn serve(repository: &TestRepository, arguments: &[&str]) -> TestServer {
    let path = repository.path().to_str().unwrap();
    TestServer::start(BINARY, &[&[path], arguments].concat()).unwrap()
}

/// A program that is the server, in a process where these words of a shell were said before.
pub(crate) fn after(folder: &Path, words: &str) -> String {
    let program = folder.join("server.sh");
    fs::write(&program, format!("#!/bin/sh\n{words}\nexec {BINARY} \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.to_str().unwrap().to_owned()
}

/// An identity model of one byte per row, with parameters of the backend.
pub(crate) fn byte_model<'a>(parameters: &'a [(&'a str, &'a str)]) -> IdentityModel<'a> {
    IdentityModel { inputs: &[("UINT8", "1")], max_batch_size: 1, parameters, more: "" }
}

/// A connection to the gRPC port.
pub(crate) async fn grpc(server: &TestServer) -> Client {
    let address = server.address("grpc").await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Client::new(channel)
}

/// The JSON body of a request to a [`byte_model`].
pub(crate) fn byte_json(byte: u8) -> String {
    format!(r#"{{"inputs":[{{"name":"INPUT0","datatype":"UINT8","shape":[1,1],"data":[{byte}]}}]}}"#)
}

/// The same over gRPC.
pub(crate) fn byte_message(model: &str, byte: u8) -> ModelInferRequest {
    ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![InferInputTensor {
            name: "INPUT0".to_owned(),
            datatype: "UINT8".to_owned(),
            shape: vec![1, 1],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![vec![byte].into()],
        ..ModelInferRequest::default()
    }
}

/// A message as gRPC frames it: uncompressed, with its length before it.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// Says to the gRPC port exactly these bytes, as tonic's client would not: that one keeps deadlines itself. Returns the
/// status and the headers that hold it, HTTP/2's own at the front or the trailers.
pub(crate) async fn call_raw(
    server: &TestServer,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (u16, HeaderMap) {
    let stream = tokio::net::TcpStream::connect(server.address("grpc").await).await.unwrap();
    call_over(stream, path, headers, body).await.unwrap()
}

/// [`call_raw`] over a connection that is open already, such as one with a certificate.
pub(crate) async fn call_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> hyper::Result<(u16, HeaderMap)> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::post(format!("http://test{path}")).header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?;
    connection.abort();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let found = if head.headers.contains_key("grpc-status") { head.headers } else { trailers };
    Ok((head.status.as_u16(), found))
}

/// `ModelInfer` with further headers, on [`call_raw`]. Returns the gRPC status and its message, percent-encoded as it came.
pub(crate) async fn infer_raw(
    server: &TestServer,
    headers: &[(&str, &str)],
    message: &ModelInferRequest,
) -> (i32, String) {
    let headers = [&[("content-type", "application/grpc")], headers].concat();
    let body = frame(&message.encode_to_vec());
    let (_, found) = call_raw(server, INFER, &headers, body).await;
    status_of(&found)
}

/// The path of `ModelInfer`.
pub(crate) const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// The gRPC status and message in headers or trailers.
pub(crate) fn status_of(headers: &HeaderMap) -> (i32, String) {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let code = text("grpc-status").and_then(|code| code.parse().ok()).unwrap_or(-1);
    (code, text("grpc-message").unwrap_or_default())
}
