//! Compares the listener with `axum::serve`, and the inference route with a bare handler, on one port.
//!
//! `cargo run --release -p adulis-http --example echo -- [axum|listener|listener-http1] [ADDRESS]` serves `POST /echo`, which
//! reads a body and sends it back, and `POST /v2/models/echo/infer` over a service that does the same with tensors.
//! `… -- cost` instead prints the time of a call of each of them in this process, without a socket.
#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use adulis_http::{HttpOptions, Listener, ListenerOptions, Protocols, router};
use adulis_types::{
    BoxFuture, ErrorKind, Failure, Fault, InferRequest, InferResponse, InferenceService, ModelMetadata,
    ModelRef, OutputTensor, Parameters, ServerMetadata, StageTimings,
};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::Bytes;
use http_body_util::BodyExt;
use tower::Service;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "listener".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;

    let service = Arc::new(Echo { name: "echo".into(), output: "OUTPUT0".into() });
    let app = Router::new()
        .route("/echo", post(|body: Bytes| async { body }))
        .merge(router(service, HttpOptions::default()));
    if mode == "cost" {
        cost(&app).await;
        return Ok(());
    }
    println!("{mode} on {address}");
    if mode == "axum" {
        let socket = tokio::net::TcpListener::bind(address).await?;
        let socket = socket.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        return axum::serve(socket, app).await;
    }
    let mut options = ListenerOptions::default();
    if mode == "listener-http1" {
        options.protocols = Protocols::Http1;
    }
    Listener::bind(address, options)?.serve(app, std::future::pending()).await;
    Ok(())
}

/// Times calls of both routes with 16 FP32 values as binary data, in turns so that a noisy machine is unfair to neither.
async fn cost(app: &Router) {
    const CALLS: u32 = 20_000;
    let json = r#"{"inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"FP32","parameters":{"binary_data_size":64}}],"outputs":[{"name":"OUTPUT0","parameters":{"binary_data":true}}]}"#;
    let body = Bytes::from([json.as_bytes(), &[0; 64]].concat());
    let mut least = [f64::INFINITY; 2];
    for _ in 0..20 {
        for (path, least) in ["/echo", "/v2/models/echo/infer"].into_iter().zip(&mut least) {
            let began = Instant::now();
            for _ in 0..CALLS {
                let request = Request::post(path)
                    .header("content-length", body.len())
                    .header("content-type", "application/octet-stream")
                    .header("inference-header-content-length", json.len())
                    .body(Body::from(body.clone()));
                let Ok(request) = request else { return };
                let Ok(response) = app.clone().call(request).await;
                assert!(response.status().is_success(), "{path}: {}", response.status());
                let _ = response.into_body().collect().await;
            }
            *least = least.min(began.elapsed().as_secs_f64() / f64::from(CALLS) * 1e9);
        }
    }
    println!(
        "bare handler {:.0} ns, inference route {:.0} ns: {:.0} ns more",
        least[0],
        least[1],
        least[1] - least[0]
    );
}

/// Answers each input as an output, at once.
struct Echo {
    name: Arc<str>,
    output: Arc<str>,
}

impl InferenceService for Echo {
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        Box::pin(async move {
            let outputs = request
                .inputs
                .into_iter()
                .map(|input| OutputTensor::new(Arc::clone(&self.output), input.tensor));
            Ok(InferResponse {
                model_name: Arc::clone(&self.name),
                model_version: 1,
                id: request.id,
                parameters: Parameters::default(),
                outputs: outputs.collect(),
                timings: StageTimings::default(),
                cache: None,
                quota: None,
            })
        })
    }

    fn ready(&self) -> bool {
        true
    }

    fn model_ready(&self, _: &ModelRef) -> Result<bool, Fault> {
        Ok(true)
    }

    fn server_metadata(&self) -> ServerMetadata {
        ServerMetadata { name: Arc::clone(&self.name), version: "1".into(), extensions: Vec::new() }
    }

    fn model_metadata(&self, _: &ModelRef) -> Result<ModelMetadata, Fault> {
        Err(Failure::new(ErrorKind::Unsupported, "the echo example has no metadata").into())
    }
}
