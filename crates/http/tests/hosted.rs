//! What SageMaker and Vertex AI ask of a container, over the wire.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use adulis_http::{
    HttpOptions, ListenerOptions, RoutePath, SageMakerOptions, VertexOptions, not_found, router,
    sagemaker_router, v1_router, vertex_router,
};
use adulis_testing::{RawResponse, ScriptedService};
use adulis_types::{
    BoxFuture, DelegatingService, Fault, IndexEntry, IndexQuery, InferRequest, InferResponse,
    InferenceService, ResponseStream,
};
use support::{Server, assert_error, binary_body, json_body, tensor};

const REDIRECT: &str = "x-vertex-ai-triton-redirect";

fn sagemaker(model: Option<&str>) -> Server {
    let service = Arc::new(ScriptedService::default());
    let options = SageMakerOptions { model: model.map(Into::into) };
    let app = sagemaker_router(Arc::clone(&service), HttpOptions::default(), options).fallback(not_found);
    Server::with_router(app, service, ListenerOptions::default())
}

fn vertex(model: Option<&str>) -> Server {
    let service = Arc::new(ScriptedService::default());
    let path = |path| RoutePath::try_from(path).unwrap();
    let options = VertexOptions {
        health_route: path("/v1/endpoints/7/deployedModels/8"),
        predict_route: path("/v1/endpoints/7/deployedModels/8:predict"),
        model: model.map(Into::into),
    };
    let routes = router(Arc::clone(&service), HttpOptions::default());
    let app =
        vertex_router(routes, Arc::clone(&service), HttpOptions::default(), options).fallback(not_found);
    Server::with_router(app, service, ListenerOptions::default())
}

async fn post(server: &Server, path: &str, headers: &[&str], body: &[u8]) -> RawResponse {
    server.connect().await.request(&format!("POST {path}"), headers, body).await.unwrap()
}

async fn invoke(server: &Server, headers: &[&str], body: &[u8]) -> RawResponse {
    post(server, "/invocations", headers, body).await
}

async fn predict(server: &Server, headers: &[&str], body: &[u8]) -> RawResponse {
    post(server, "/v1/endpoints/7/deployedModels/8:predict", headers, body).await
}

#[tokio::test]
async fn sagemaker_pings() {
    let server = sagemaker(None);
    assert_eq!(server.get("/ping").await.status, 200);
    server.service.unready.store(true, Ordering::SeqCst);
    assert_error(&server.get("/ping").await, 503, "not ready");
    assert_error(&server.get("/v2").await, 404, "/v2");
    assert_error(&server.get("/invocations").await, 405, "not allowed");
}

#[tokio::test]
async fn sagemaker_invokes_in_every_form() {
    let server = sagemaker(Some("echo"));
    let json = invoke(&server, &["content-type: application/json"], &json_body(4)).await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(body["outputs"][0]["data"][3].as_f64(), Some(3.0));

    let rows = invoke(&server, &[], br#"{"instances":[[1,2]]}"#).await;
    assert_eq!((rows.status, rows.text().as_str()), (200, r#"{"predictions":[[1.0,2.0]]}"#));

    for count in [16, 100_000] {
        let (body, header) = binary_body(count);
        let media = "application/vnd.sagemaker-triton.binary+json;json-header-size=";
        let binary = invoke(&server, &[&format!("content-type: {media}{header}")], &body).await;
        assert_eq!(binary.status, 200, "{}", binary.text());
        let length = binary.header("content-type").unwrap().strip_prefix(media).unwrap();
        assert_eq!(&binary.body[length.parse().unwrap()..], tensor(count));
        assert_eq!(binary.header("inference-header-content-length"), None);
    }
    let last = server.service.last.lock().take().unwrap();
    assert_eq!(last.inputs[0].tensor.data().as_ptr().addr() % 64, 0, "a large tensor arrives aligned");
}

#[tokio::test]
async fn sagemaker_asks_the_model_that_is_meant() {
    let server = sagemaker(Some("nobody"));
    assert_error(&invoke(&server, &[], &json_body(1)).await, 404, "'nobody'");
    let target = "X-Amzn-SageMaker-Target-Model: echo";
    assert_eq!(invoke(&server, &[target], &json_body(1)).await.status, 200);
    let several = sagemaker(None);
    let answer = invoke(&several, &[], &json_body(1)).await;
    assert_error(&answer, 400, "models is meant? set sagemaker.model");
    assert_eq!(invoke(&several, &[target], &json_body(1)).await.status, 200);
}

/// Lists its models, which may take as long as a disk does, never on the thread that answers requests.
struct Listing {
    inner: Arc<ScriptedService>,
    io: ThreadId,
    listed: AtomicUsize,
}

impl DelegatingService for Listing {
    fn inner(&self) -> &dyn InferenceService {
        &*self.inner
    }

    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        self.inner.infer(request)
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        self.inner.infer_stream(request)
    }

    fn repository_index(&self, query: &IndexQuery) -> Result<Vec<IndexEntry>, Fault> {
        assert_ne!(thread::current().id(), self.io, "others wait for this thread");
        self.listed.fetch_add(1, Ordering::SeqCst);
        self.inner.repository_index(query)
    }
}

#[tokio::test]
async fn models_are_listed_where_nobody_waits_for_it() {
    let inner = Arc::new(ScriptedService::default());
    let listing = Arc::new(Listing {
        inner: Arc::clone(&inner),
        io: thread::current().id(),
        listed: AtomicUsize::new(0),
    });
    let options = HttpOptions::default;
    let app = router(Arc::clone(&listing), options())
        .merge(v1_router(Arc::clone(&listing), options()))
        .merge(sagemaker_router(Arc::clone(&listing), options(), SageMakerOptions { model: None }));
    let server = Server::with_router(app, inner, ListenerOptions::default());
    assert_error(&invoke(&server, &[], &json_body(1)).await, 400, "set sagemaker.model");
    assert_eq!(server.get("/v1/models").await.status, 200);
    assert_eq!(post(&server, "/v2/repository/index", &[], b"").await.status, 200);
    assert_eq!(listing.listed.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn bad_invocations_are_told() {
    let server = sagemaker(Some("echo"));
    assert_error(&invoke(&server, &[], b"").await, 400, "the body is empty");
    assert_error(&invoke(&server, &["content-type: image/png"], b"x").await, 415, "image/png");
    for size in ["-1", "+1", "many", "5000"] {
        let media = "application/vnd.sagemaker-triton.binary+json";
        let header = format!("content-type: {media}; json-header-size={size}");
        assert_error(&invoke(&server, &[&header], &json_body(1)).await, 400, size);
    }
    let slow = sagemaker(Some("slow"));
    let late = invoke(&slow, &["x-request-timeout-ms: 20"], &json_body(1)).await;
    assert_error(&late, 504, "'slow' did not answer");
}

#[tokio::test]
async fn vertex_ai_predicts_where_it_says() {
    let server = vertex(Some("echo"));
    assert_eq!(server.get("/v1/endpoints/7/deployedModels/8").await.status, 200);
    let rows = predict(&server, &[], br#"{"instances":[{"INPUT0":[1]}],"parameters":{}}"#).await;
    assert_eq!((rows.status, rows.text().as_str()), (200, r#"{"predictions":[[1.0]]}"#));
    assert_eq!(predict(&server, &[], &json_body(4)).await.status, 200);

    let (body, header) = binary_body(16);
    let media = "application/vnd.vertex-ai-triton.binary+json;json-header-size=";
    let binary = predict(&server, &[&format!("content-type: {media}{header}")], &body).await;
    let length = binary.header("content-type").unwrap().strip_prefix(media).unwrap();
    assert_eq!(&binary.body[length.parse().unwrap()..], tensor(16));

    let several = vertex(None);
    assert_error(&predict(&several, &[], &json_body(1)).await, 400, "set vertex_ai.model");
    assert_error(&server.get("/v2/models/echo").await, 404, "/v2/models/echo");
}

#[tokio::test]
async fn vertex_ai_redirects_below_v2() {
    let server = vertex(Some("nobody"));
    for path in ["v2/models/echo/infer", "/v2/models/echo/versions/1/infer"] {
        let answer = predict(&server, &[&format!("{REDIRECT}: {path}")], &json_body(1)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let metadata = predict(&server, &[&format!("{REDIRECT}: v2/models/echo")], b"{}").await;
    let body: serde_json::Value = serde_json::from_slice(&metadata.body).unwrap();
    assert_eq!(
        (metadata.status, body["name"].as_str()),
        (200, Some("echo")),
        "what cannot be posted is got"
    );
    let missing = predict(&server, &[&format!("{REDIRECT}: v2/nothing")], b"").await;
    assert_error(&missing, 404, "no such route: /v2/nothing");
    for path in ["v1/models/echo", "http://x/v2", "v2x/y", "", "v2/ x"] {
        let answer = predict(&server, &[&format!("{REDIRECT}: {path}")], b"").await;
        assert_error(&answer, 400, "expected a path below v2");
    }
}

#[test]
fn paths_of_routes() {
    for good in ["/", "/predict", "/v1/endpoints/7/deployedModels/8:predict"] {
        assert_eq!(RoutePath::try_from(good).unwrap().to_string(), good);
    }
    for bad in ["", "predict", "/a b", "/{x}", "/*x", "/:x", "/a?b", "/é"] {
        assert!(RoutePath::try_from(bad).is_err(), "{bad}");
    }
}
