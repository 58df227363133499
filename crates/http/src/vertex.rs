//! Google Vertex AI's contract for containers.

use std::fmt;

use adulis_types::{Asked, Name, Operation, RequestId, Services};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tower::ServiceExt;

use crate::HttpOptions;
use crate::boundary::{Call, answer};
use crate::error::{HttpError, Refusal};
use crate::exchange::Exchange;
use crate::hosted::{Hosted, Platform};
use crate::rest::Rest;
use crate::router::method_not_allowed;
use crate::routes::Routes;
use crate::server;

/// Names a path below `/v2` that is meant instead: Vertex AI itself lets only the two routes through.
const REDIRECT: HeaderName = HeaderName::from_static("x-vertex-ai-triton-redirect");

const VERTEX_AI: Platform = Platform {
    binary: "application/vnd.vertex-ai-triton.binary+json",
    setting: "vertex_ai.model",
};

/// What Vertex AI's routes are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexOptions {
    /// Where it is asked whether the server is ready.
    pub health_route: RoutePath,
    /// Where it is asked for inferences.
    pub predict_route: RoutePath,
    /// The model that is asked; `None`: the only one that there is.
    pub model: Option<Name>,
}

/// A path that a route can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath(String);

/// Why a text is no path of a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a path such as /predict: printable ASCII from its slash on, without braces, '?', '#' and '*'"
)]
pub struct RoutePathError;

impl TryFrom<&str> for RoutePath {
    type Error = RoutePathError;

    fn try_from(path: &str) -> Result<Self, Self::Error> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"{}?#*".contains(&byte);
        // The router takes a colon at the beginning of a segment for a mistake.
        if path.starts_with('/') && path.bytes().all(plain) && !path.contains("/:") {
            return Ok(Self(path.to_owned()));
        }
        Err(RoutePathError)
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl VertexOptions {
    /// The health route, unless it is told otherwise.
    pub const HEALTH_ROUTE: &str = "/health";
    /// The predict route, unless it is told otherwise.
    pub const PREDICT_ROUTE: &str = "/predict";
}

pub(crate) struct VertexAi {
    /// The server's own, which requests can be redirected to.
    routes: Router,
    options: VertexOptions,
}

/// The routes that Google Vertex AI asks a container: the health route, which answers 200 once the server is ready, and the
/// predict route, an inference in any form that `/v2` takes, or in the V1 protocol's row format.
///
/// A request with the header `X-Vertex-Ai-Triton-Redirect` is answered by `routes`, which are the server's own below `/v2`, at
/// the path that the header names. Binary tensors come and go as
/// `application/vnd.vertex-ai-triton.binary+json;json-header-size=N`, as Triton has it. It sets no fallback.
pub fn vertex_router(
    routes: Router,
    services: impl Into<Services>,
    http: HttpOptions,
    options: VertexOptions,
) -> Router {
    self::routes(&options.health_route.0, &options.predict_route.0)
        .into_router()
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Hosted::new(Rest::new(services, http), VertexAi { routes, options }))
}

pub(crate) fn routes(health_route: &str, predict_route: &str) -> Routes<Hosted<VertexAi>> {
    Routes::new().get(health_route, Operation::ServerReady, server::ready).post(
        predict_route,
        Operation::Infer,
        predict,
    )
}

/// `POST` of the predict route.
async fn predict(State(hosted): State<Hosted<VertexAi>>, request: Request) -> Response {
    if let Some(path) = request.headers().get(REDIRECT).cloned() {
        let call = Call::begin(&request);
        return match target(&path) {
            Ok(target) => redirect(&hosted.platform.routes, request, target).await,
            Err(error) => answer(call, async { Err(error.into()) }).await,
        };
    }
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, Box::pin(run(&hosted, request, id))).await
}

async fn run(hosted: &Hosted<VertexAi>, request: Request, id: RequestId) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let entered = hosted.rest.enter(&parts, Asked::new(Operation::Infer, &id)).await?;
    let model = VERTEX_AI.model(&entered, None, hosted.platform.options.model.as_ref()).await?;
    let exchange = Exchange::begin(&hosted.rest, entered, &parts.headers, id)?;
    VERTEX_AI.infer(exchange, model, (&parts.headers, body)).await
}

/// The path below `/v2` that a redirect names, with its slash at the beginning or without.
fn target(path: &HeaderValue) -> Result<Uri, HttpError> {
    let text = path.to_str().unwrap_or("");
    let text = text.strip_prefix('/').unwrap_or(text);
    let below = text == "v2" || text.starts_with("v2/") || text.starts_with("v2?");
    let uri = Uri::try_from(format!("/{text}")).ok().filter(|_| below);
    uri.ok_or_else(|| HttpError::Header {
        name: "x-vertex-ai-triton-redirect",
        given: String::from_utf8_lossy(path.as_bytes()).into_owned(),
        expected: "a path below v2",
    })
}

/// Has the server's own routes answer. Vertex AI posts everything: what cannot be posted to is got.
async fn redirect(routes: &Router, request: Request, target: Uri) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.uri = target;
    let mut got = http::Request::new(Body::empty());
    *got.method_mut() = Method::GET;
    *got.uri_mut() = parts.uri.clone();
    *got.headers_mut() = parts.headers.clone();
    // Among them is whose connection it is.
    *got.extensions_mut() = parts.extensions.clone();
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
    ] {
        got.headers_mut().remove(name);
    }
    let Ok(posted) = routes.clone().oneshot(Request::from_parts(parts, body)).await;
    if posted.status() != StatusCode::METHOD_NOT_ALLOWED {
        return posted;
    }
    let Ok(found) = routes.clone().oneshot(got).await;
    found
}
