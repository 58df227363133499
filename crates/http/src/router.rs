use std::sync::Arc;

use adulis_types::Services;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get, post};
use http::{HeaderValue, header};

use crate::boundary::{Call, JSON, answer};
use crate::coding::Codec;
use crate::error::HttpError;
use crate::{HttpOptions, cache, generate, infer, models, regions, repository, server, settings, statistics};

/// What the handlers share.
pub(crate) struct Rest {
    pub(crate) services: Services,
    pub(crate) options: HttpOptions,
    pub(crate) codec: Codec,
}

impl Rest {
    pub(crate) fn new(services: impl Into<Services>, options: HttpOptions) -> Self {
        Self { services: services.into(), options, codec: Codec::new() }
    }
}

/// The Open Inference Protocol's REST routes over `services`: an `Arc` of an
/// [`InferenceService`](adulis_types::InferenceService) alone, or [`Services`] with more parts.
///
/// All of them are below `/v2`, and the router answers for all of `/v2`: unknown routes there are 404 with a JSON error. It
/// sets no fallback for other paths, so that it merges into any application; a server of its own adds [`not_found`].
pub fn router(services: impl Into<Services>, options: HttpOptions) -> Router {
    let rest = Rest::new(services, options);
    // No layer stands around these routes: what every request needs is in `boundary::answer`, where it costs no boxed
    // body and no further future.
    Router::new()
        .merge(server_routes())
        .merge(model_routes("/v2/models/{model}"))
        .merge(model_routes("/v2/models/{model}/versions/{version}"))
        .route("/v2/{*rest}", any(not_found))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(rest))
}

fn server_routes() -> Router<Arc<Rest>> {
    Router::new()
        .route("/v2", get(server::metadata))
        .route("/v2/", get(server::metadata))
        .route("/v2/health/live", get(server::live))
        .route("/v2/health/ready", get(server::ready))
        .route("/v2/models/stats", get(statistics::all))
        .route("/v2/logging", get(settings::log).post(settings::update_log))
        .route("/v2/trace/setting", get(settings::trace).post(settings::update_trace))
        .route("/v2/cache", get(cache::report))
        .route("/v2/cache/purge", post(cache::purge))
        .route("/v2/cache/models/{model}/purge", post(cache::purge))
        .merge(repository_routes("/v2/repository"))
        .merge(repository_routes("/v2/repository/{repository}"))
        .merge(region_routes())
}

fn region_routes() -> Router<Arc<Rest>> {
    let (system, cuda) = ("/v2/systemsharedmemory", "/v2/cudasharedmemory");
    Router::new()
        .route(&format!("{system}/status"), get(regions::status))
        .route(&format!("{system}/unregister"), post(regions::unregister))
        .route(&format!("{system}/region/{{region}}/status"), get(regions::status))
        .route(&format!("{system}/region/{{region}}/register"), post(regions::register))
        .route(&format!("{system}/region/{{region}}/unregister"), post(regions::unregister))
        .route(&format!("{cuda}/status"), get(regions::cuda_status))
        .route(&format!("{cuda}/unregister"), post(regions::cuda_unregister))
        .route(&format!("{cuda}/region/{{region}}/status"), get(regions::cuda_status))
        .route(&format!("{cuda}/region/{{region}}/register"), post(regions::cuda_register))
        .route(&format!("{cuda}/region/{{region}}/unregister"), post(regions::cuda_unregister))
}

fn repository_routes(base: &str) -> Router<Arc<Rest>> {
    Router::new()
        .route(&format!("{base}/index"), post(repository::index))
        .route(&format!("{base}/models/{{model}}/load"), post(repository::load))
        .route(&format!("{base}/models/{{model}}/unload"), post(repository::unload))
}

fn model_routes(base: &str) -> Router<Arc<Rest>> {
    Router::new()
        .route(base, get(models::metadata))
        .route(&format!("{base}/ready"), get(models::ready))
        .route(&format!("{base}/infer"), post(infer::infer))
        .route(&format!("{base}/generate"), post(generate::generate))
        .route(&format!("{base}/generate_stream"), post(generate::generate_stream))
        .route(&format!("{base}/config"), get(models::config))
        .route(&format!("{base}/stats"), get(statistics::model))
        // Of all versions, whichever is named.
        .route(&format!("{base}/trace/setting"), get(settings::trace).post(settings::update_trace))
}

/// Answers 404 with a JSON error, or gRPC's `UNIMPLEMENTED` to a gRPC request on the shared port. For use as a fallback.
pub async fn not_found(request: Request) -> Response {
    if is_grpc(&request) {
        return unimplemented_grpc();
    }
    let call = Call::begin(&request);
    let path = request.uri().path().to_owned();
    answer(call, async move { Err(HttpError::NoRoute { path }.into()) }).await
}

/// Answers 405 with a JSON error; Axum adds `Allow`.
pub(crate) async fn method_not_allowed(request: Request) -> Response {
    let call = Call::begin(&request);
    let method = request.method().clone();
    answer(call, async move { Err(HttpError::Method { method }.into()) }).await
}

fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// gRPC tells errors in headers of a response whose status is 200. 12 is `UNIMPLEMENTED`.
fn unimplemented_grpc() -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static("12"));
    response
}

/// A 200 of JSON.
pub(crate) fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
