use std::sync::Arc;

use adulis_types::{Operation, Services};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use http::{HeaderValue, header};

use crate::boundary::{Call, JSON, answer};
use crate::error::HttpError;
use crate::rest::Rest;
use crate::routes::Routes;
use crate::{
    HttpOptions, cache, generate, infer, models, openapi, regions, repository, server, settings, statistics,
};

/// The Open Inference Protocol's REST routes over `services`: an `Arc` of an
/// [`InferenceService`](adulis_types::InferenceService) alone, or [`Services`] with more parts.
///
/// All of them are below `/v2`, and the router answers for all of `/v2`: unknown routes there are 404 with a JSON error. It
/// sets no fallback for other paths, so that it merges into any application; a server of its own adds [`not_found`].
pub fn router(services: impl Into<Services>, options: HttpOptions) -> Router {
    let rest = Rest::new(services, options);
    // No layer stands around these routes: what every request needs is in `boundary::answer` and `Rest::enter`, where it costs
    // no boxed body and no further future.
    routes()
        .into_router()
        .route("/v2/{*rest}", any(not_found))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(rest))
}

pub(crate) fn routes() -> Routes {
    server_routes()
        .merge(model_routes("/v2/models/{model}"))
        .merge(model_routes("/v2/models/{model}/versions/{version}"))
}

/// `GET /v2/health/live` and `/ready`, as [`router`] has them, and `GET /livez`: for another port, which answers when all
/// connections that the REST port may have are taken.
pub fn health_router(services: impl Into<Services>, options: HttpOptions) -> Router {
    let rest = Rest::new(services, options);
    health_routes().merge(livez_routes()).into_router().with_state(Arc::new(rest))
}

/// What only the other port has.
pub(crate) fn livez_routes() -> Routes {
    Routes::new().get("/livez", Operation::ServerLive, server::live)
}

fn health_routes() -> Routes {
    Routes::new().get("/v2/health/live", Operation::ServerLive, server::live).get(
        "/v2/health/ready",
        Operation::ServerReady,
        server::ready,
    )
}

fn server_routes() -> Routes {
    health_routes()
        .get("/v2", Operation::ServerMetadata, server::metadata)
        .get("/v2/", Operation::ServerMetadata, server::metadata)
        .get("/v2/openapi.json", Operation::Reflection, openapi::document)
        .get("/v2/models/stats", Operation::Statistics, statistics::all)
        .get("/v2/logging", Operation::LogSettings, settings::log)
        .post("/v2/logging", Operation::LogUpdate, settings::update_log)
        .get("/v2/trace/setting", Operation::TraceSettings, settings::trace)
        .post("/v2/trace/setting", Operation::TraceUpdate, settings::update_trace)
        .get("/v2/cache", Operation::CacheReport, cache::report)
        .post("/v2/cache/purge", Operation::CachePurge, cache::purge)
        .post("/v2/cache/models/{model}/purge", Operation::CachePurge, cache::purge)
        .merge(repository_routes("/v2/repository"))
        .merge(repository_routes("/v2/repository/{repository}"))
        .merge(region_routes())
}

fn region_routes() -> Routes {
    let (status, register, unregister) = (
        Operation::SharedMemoryStatus,
        Operation::SharedMemoryRegister,
        Operation::SharedMemoryUnregister,
    );
    let (system, cuda) = ("/v2/systemsharedmemory", "/v2/cudasharedmemory");
    Routes::new()
        .get(&format!("{system}/status"), status, regions::status)
        .post(&format!("{system}/unregister"), unregister, regions::unregister)
        .get(&format!("{system}/region/{{region}}/status"), status, regions::status)
        .post(&format!("{system}/region/{{region}}/register"), register, regions::register)
        .post(&format!("{system}/region/{{region}}/unregister"), unregister, regions::unregister)
        .get(&format!("{cuda}/status"), status, regions::cuda_status)
        .post(&format!("{cuda}/unregister"), unregister, regions::cuda_unregister)
        .get(&format!("{cuda}/region/{{region}}/status"), status, regions::cuda_status)
        .post(&format!("{cuda}/region/{{region}}/register"), register, regions::cuda_register)
        .post(&format!("{cuda}/region/{{region}}/unregister"), unregister, regions::cuda_unregister)
}

fn repository_routes(base: &str) -> Routes {
    Routes::new()
        .post(&format!("{base}/index"), Operation::ModelIndex, repository::index)
        .post(&format!("{base}/models/{{model}}/load"), Operation::ModelLoad, repository::load)
        .post(&format!("{base}/models/{{model}}/unload"), Operation::ModelUnload, repository::unload)
}

fn model_routes(base: &str) -> Routes {
    // Trace settings are of all versions, whichever is named.
    let traced = format!("{base}/trace/setting");
    Routes::new()
        .get(base, Operation::ModelMetadata, models::metadata)
        .get(&format!("{base}/ready"), Operation::ModelReady, models::ready)
        .post(&format!("{base}/infer"), Operation::Infer, infer::infer)
        .post(&format!("{base}/generate"), Operation::Infer, generate::generate)
        .post(&format!("{base}/generate_stream"), Operation::Infer, generate::generate_stream)
        .get(&format!("{base}/config"), Operation::ModelConfig, models::config)
        .get(&format!("{base}/stats"), Operation::Statistics, statistics::model)
        .get(&traced, Operation::TraceSettings, settings::trace)
        .post(&traced, Operation::TraceUpdate, settings::update_trace)
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
