use std::sync::Arc;

use adulis_protocol::rest;
use adulis_types::{Asked, Operation};
use axum::extract::{Request, State};
use axum::response::Response;

use crate::boundary::{Call, answer};
use crate::error::HttpError;
use crate::rest::Rest;
use crate::router::json;

/// `GET /v2`
pub(crate) async fn metadata(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        let entered = rest.enter(&parts, Asked::new(Operation::ServerMetadata, &id)).await?;
        Ok(json(rest::server_metadata(&entered.services().server_metadata())))
    })
    .await
}

/// `GET /v2/health/live`
pub(crate) async fn live(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        let entered = rest.enter(&parts, Asked::new(Operation::ServerLive, &id)).await?;
        match entered.services().inference.live() {
            true => Ok(json(r#"{"live":true}"#)),
            false => Err(HttpError::ServerNot { state: "live" }.into()),
        }
    })
    .await
}

/// `GET /v2/health/ready`, and where platforms that host a server ask whether it is ready.
///
/// 200 where it is, with what is the matter with the things that it talks to. The KServe client parses the body as JSON;
/// Triton's clients look at the status alone.
pub(crate) async fn ready(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        let entered = rest.enter(&parts, Asked::new(Operation::ServerReady, &id)).await?;
        let services = entered.services();
        if !services.inference.ready() {
            return Err(HttpError::ServerNot { state: "ready" }.into());
        }
        let dependencies = services.dependencies.iter();
        Ok(json(rest::readiness(
            dependencies.map(|dependency| (dependency.name(), dependency.problem())),
        )))
    })
    .await
}
