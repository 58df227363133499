//! Routes of the logging and trace extensions.

use std::sync::Arc;

use adulis_protocol::{log_settings, rest, trace_settings, update_log_settings, update_trace_settings};
use adulis_types::Name;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;

use crate::body::BodyPlan;
use crate::boundary::{Call, answer};
use crate::error::HttpError;
use crate::exchange::read_body;
use crate::router::{Rest, json};

/// Longest body that changes settings.
const MAX_SETTINGS_BYTES: usize = 16 * 1024;

/// `GET /v2/logging`
pub(crate) async fn log(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    answer(call, async move { Ok(json(rest::log_settings(&log_settings(&rest.services)?))) }).await
}

/// `POST /v2/logging`
pub(crate) async fn update_log(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let work = async move {
        let (_, body) = read(&rest, request).await?;
        let update = rest::decode_log_update(&body)?;
        Ok(json(rest::log_settings(&update_log_settings(&rest.services, &update)?)))
    };
    answer(call, Box::pin(work)).await
}

/// `GET /v2[/models/{model}]/trace/setting`
pub(crate) async fn trace(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    answer(call, async move {
        let model = model_of(&mut request.into_parts().0).await?;
        Ok(json(rest::trace_settings(&trace_settings(&rest.services, &model)?)))
    })
    .await
}

/// `POST /v2[/models/{model}]/trace/setting`
pub(crate) async fn update_trace(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let work = async move {
        let (mut parts, body) = read(&rest, request).await?;
        let model = model_of(&mut parts).await?;
        let update = rest::decode_trace_update(&model, &body)?;
        Ok(json(rest::trace_settings(&update_trace_settings(&rest.services, &model, &update)?)))
    };
    answer(call, Box::pin(work)).await
}

/// The head and the body, which needs no content type: Triton's clients send none.
async fn read(rest: &Rest, request: Request) -> Result<(Parts, Bytes), HttpError> {
    let (parts, body) = request.into_parts();
    let limit = rest.options.max_body_bytes.min(MAX_SETTINGS_BYTES);
    let plan = BodyPlan { declared: None, header_length: None, limit };
    let body = read_body(rest, &parts.headers, body, plan).await?;
    Ok((parts, body))
}

/// The model that the path names; empty where it names none.
async fn model_of(parts: &mut Parts) -> Result<Name, HttpError> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| HttpError::Path)?;
    // The last: one before it is the application's that this router is nested in.
    let model = parameters.iter().filter(|(key, _)| *key == "model").last();
    Ok(model.map(|(_, name)| name.into()).unwrap_or_default())
}
