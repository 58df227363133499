//! Routes of the logging and trace extensions.

use std::sync::Arc;

use adulis_protocol::{log_settings, rest, trace_settings, update_log_settings, update_trace_settings};
use adulis_types::{Asked, Name, Operation};
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;

use crate::body::BodyPlan;
use crate::boundary::{Call, answer};
use crate::error::HttpError;
use crate::exchange::read_body;
use crate::rest::Rest;
use crate::router::json;

/// Longest body that changes settings.
const MAX_SETTINGS_BYTES: usize = 16 * 1024;

/// `GET /v2/logging`
pub(crate) async fn log(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        let entered = rest.enter(&parts, Asked::new(Operation::LogSettings, &id)).await?;
        Ok(json(rest::log_settings(&log_settings(entered.services())?)))
    })
    .await
}

/// `POST /v2/logging`
pub(crate) async fn update_log(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    let work = async move {
        let (parts, body) = request.into_parts();
        let entered = rest.enter(&parts, Asked::new(Operation::LogUpdate, &id)).await?;
        let update = rest::decode_log_update(&read(&rest, &parts, body).await?)?;
        let settings = update_log_settings(entered.services(), &update)?;
        entered.done(|| Some(format!("{update:?}")));
        Ok(json(rest::log_settings(&settings)))
    };
    answer(call, Box::pin(work)).await
}

/// `GET /v2[/models/{model}]/trace/setting`
pub(crate) async fn trace(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let mut parts = request.into_parts().0;
        let model = model_of(&mut parts).await?;
        let entered = rest.enter(&parts, Asked::new(Operation::TraceSettings, &id).of(&model)).await?;
        Ok(json(rest::trace_settings(&trace_settings(entered.services(), &model)?)))
    })
    .await
}

/// `POST /v2[/models/{model}]/trace/setting`
pub(crate) async fn update_trace(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    let work = async move {
        let (mut parts, body) = request.into_parts();
        let model = model_of(&mut parts).await?;
        let entered = rest.enter(&parts, Asked::new(Operation::TraceUpdate, &id).of(&model)).await?;
        if model.is_empty() {
            entered.all_models()?;
        }
        let update = rest::decode_trace_update(&model, &read(&rest, &parts, body).await?)?;
        let settings = update_trace_settings(entered.services(), &model, &update)?;
        entered.done(|| Some(format!("{update:?}")));
        Ok(json(rest::trace_settings(&settings)))
    };
    answer(call, Box::pin(work)).await
}

/// The body, which needs no content type: Triton's clients send none.
async fn read(rest: &Rest, parts: &Parts, body: Body) -> Result<Bytes, HttpError> {
    let limit = rest.options.max_body_bytes.min(MAX_SETTINGS_BYTES);
    let plan = BodyPlan { declared: None, header_length: None, limit };
    // So few bytes are not counted.
    Ok(read_body(rest, &parts.headers, body, plan).await?.0)
}

/// The model that the path names; empty where it names none.
async fn model_of(parts: &mut Parts) -> Result<Name, HttpError> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| HttpError::Path)?;
    // The last: one before it is the application's that this router is nested in.
    let model = parameters.iter().filter(|(key, _)| *key == "model").last();
    Ok(model.map(|(_, name)| name.into()).unwrap_or_default())
}
