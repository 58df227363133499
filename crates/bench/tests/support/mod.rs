//! Servers that answer as an inference server would, or as one that has trouble.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adulis_bench::BenchArgs;
use adulis_protocol::grpc::model_infer_response::InferOutputTensor;
use adulis_protocol::grpc::model_metadata_response::TensorMetadata;
use adulis_protocol::grpc::*;
use adulis_protocol::rest;
use adulis_types::{InferResponse, ModelRef, OutputTensor, Parameters, StageTimings};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use clap::Parser;
use tokio::net::TcpListener;
use tonic::{Request, Status};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

/// The arguments that `words` are.
pub(crate) fn arguments(words: &str) -> BenchArgs {
    Cli::try_parse_from(std::iter::once("bench").chain(words.split_whitespace()))
        .unwrap()
        .bench
}

/// How a server answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Behaviour {
    /// At once.
    Prompt,
    /// After this long.
    Slow(Duration),
    /// Nothing for `length`, from `after` the first request on.
    Stall { after: Duration, length: Duration },
    /// Every n-th request is refused with 503.
    RefuseEvery(u64),
}

/// A server of this process.
pub(crate) struct Server {
    pub(crate) url: String,
}

struct Shared {
    behaviour: Behaviour,
    requests: AtomicU64,
    first: std::sync::OnceLock<Instant>,
    /// Bodies that were answered, as a response cache would keep them.
    seen: Mutex<HashSet<Bytes>>,
}

/// A REST server: model `identity`, its like `lazy` that takes [`LAZY`], a bare echo at `/echo`, metrics.
pub(crate) async fn echo(behaviour: Behaviour) -> Server {
    let shared = Arc::new(Shared {
        behaviour,
        requests: AtomicU64::new(0),
        first: std::sync::OnceLock::new(),
        seen: Mutex::default(),
    });
    let router = Router::new()
        .route("/echo", post(raw))
        .route("/mirror/v2/models/{model}/infer", post(raw))
        .route("/v2/models/{model}", get(metadata))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/metrics", get(metrics))
        .with_state(shared);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { url }
}

async fn raw(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Bytes, (StatusCode, &'static str)> {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
    match shared.behaviour {
        Behaviour::Prompt => {}
        Behaviour::Slow(wait) => tokio::time::sleep(wait).await,
        Behaviour::Stall { after, length } => {
            let first = *shared.first.get_or_init(Instant::now);
            let (start, end) = (first + after, first + after + length);
            if (start..end).contains(&Instant::now()) {
                tokio::time::sleep_until(end.into()).await;
            }
        }
        Behaviour::RefuseEvery(n) if number % n == 0 => {
            return Err((StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"queue is full"}"#));
        }
        Behaviour::RefuseEvery(_) => {}
    }
    Ok(body)
}

async fn metadata(Path(model): Path<String>) -> Result<String, (StatusCode, String)> {
    if model != "identity" {
        return Err((StatusCode::NOT_FOUND, format!(r#"{{"error":"no model {model}"}}"#)));
    }
    let tensor = r#"[{"name":"X","datatype":"FP32","shape":[-1,16]}]"#;
    Ok(format!(r#"{{"name":"identity","platform":"test","inputs":{tensor},"outputs":{tensor}}}"#))
}

/// How long model `lazy` takes.
pub(crate) const LAZY: Duration = Duration::from_millis(10);

async fn infer(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    if model == "lazy" {
        tokio::time::sleep(LAZY).await;
    }
    let is_new = shared.seen.lock().unwrap().insert(body.clone());
    let header_length = headers
        .get("inference-header-content-length")
        .map(|length| length.to_str().unwrap().parse().unwrap());
    let decoded = rest::decode_infer(ModelRef::latest("identity"), body, header_length).unwrap();
    let outputs = decoded.request.inputs.into_iter().map(|input| OutputTensor::new("Y", input.tensor));
    let response = InferResponse {
        model_name: "identity".into(),
        model_version: 1,
        id: decoded.request.id,
        parameters: Parameters::default(),
        outputs: outputs.collect(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    };
    let body = rest::encode_infer(response, &decoded.format).unwrap();
    let mut answer = Response::builder().header("adulis-cache", if is_new { "miss" } else { "hit; age=1" });
    if let Some(length) = body.header_length {
        answer = answer.header("inference-header-content-length", length);
    }
    answer.body(Body::from(body.into_bytes())).unwrap()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> String {
    let count = shared.requests.load(Ordering::Relaxed);
    let labels = r#"{model="identity",version="1",stage="total"}"#;
    let name = "adulis_inference_stage_duration_seconds";
    format!("{name}_sum{labels} {}\n{name}_count{labels} {count}\n", count as f64 * 0.002)
}

/// A tonic server: model `identity`. Gives its URL.
pub(crate) async fn grpc_echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(GrpcInferenceServiceServer::new(Echo));
    tokio::spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
    url
}

struct Echo;

fn known(model: &str) -> Result<(), Status> {
    match model {
        "identity" => Ok(()),
        other => Err(Status::not_found(format!("no model {other}"))),
    }
}

type Answer<T> = Result<tonic::Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Echo {
    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let request = request.into_inner();
        known(&request.model_name)?;
        let outputs = request.inputs.into_iter().map(|input| InferOutputTensor {
            name: input.name,
            datatype: input.datatype,
            shape: input.shape,
            ..InferOutputTensor::default()
        });
        Ok(tonic::Response::new(ModelInferResponse {
            model_name: request.model_name,
            model_version: "1".to_owned(),
            outputs: outputs.collect(),
            raw_output_contents: request.raw_input_contents,
            ..ModelInferResponse::default()
        }))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        let name = request.into_inner().name;
        known(&name)?;
        let input = TensorMetadata { name: "X".to_owned(), datatype: "FP32".to_owned(), shape: vec![-1, 16] };
        Ok(tonic::Response::new(ModelMetadataResponse {
            name,
            inputs: vec![input],
            ..ModelMetadataResponse::default()
        }))
    }
}
