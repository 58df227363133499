use std::sync::Arc;

use adulis_protocol::rest;
use axum::extract::{Request, State};
use axum::response::Response;

use crate::boundary::{Call, answer};
use crate::error::{HttpError, Refusal};
use crate::router::{Rest, json};

/// `GET /v2`
pub(crate) async fn metadata(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    answer(call, async move { Ok(json(rest::server_metadata(&rest.services.server_metadata()))) }).await
}

/// `GET /v2/health/live`
pub(crate) async fn live(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    answer(call, async move { health(rest.services.inference.live(), "live", r#"{"live":true}"#) }).await
}

/// `GET /v2/health/ready`
pub(crate) async fn ready(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    answer(call, async move { is_ready(&rest) }).await
}

/// 200 where the server is ready.
///
/// # Errors
/// [`HttpError::ServerNot`] where it is not.
pub(crate) fn is_ready(rest: &Rest) -> Result<Response, Refusal> {
    health(rest.services.inference.ready(), "ready", r#"{"ready":true}"#)
}

/// The KServe client parses the body as JSON; Triton's clients look at the status alone.
fn health(good: bool, state: &'static str, body: &'static str) -> Result<Response, Refusal> {
    if good { Ok(json(body)) } else { Err(HttpError::ServerNot { state }.into()) }
}
