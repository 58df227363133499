use std::sync::Arc;

use adulis_protocol::{model_ref, rest};
use adulis_types::{Asked, Entered, ModelRef, Operation, RequestId};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::response::Response;
use http::request::Parts;

use crate::boundary::{Call, answer};
use crate::error::{HttpError, Refusal};
use crate::rest::Rest;
use crate::router::json;

/// The model that the path names, percent-decoded.
///
/// # Errors
/// [`HttpError::Path`] for what does not decode to UTF-8, and a decode error for a version that is no number.
pub(crate) async fn model_of(parts: &mut Parts) -> Result<ModelRef, Refusal> {
    model_in(parts, "").await
}

/// The same, of a path whose last segment ends with `verb`.
///
/// # Errors
/// As [`model_of`]; [`HttpError::NoRoute`] for a path that ends otherwise.
pub(crate) async fn model_in(parts: &mut Parts, verb: &str) -> Result<ModelRef, Refusal> {
    let parameters = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_: RawPathParamsRejection| HttpError::Path)?;
    let (mut model, mut version) = ("", None);
    for (key, value) in &parameters {
        match key {
            "model" => model = value,
            "version" => version = Some(value),
            // A parameter of the application that this router is nested in.
            _ => {}
        }
    }
    let last = version.as_mut().unwrap_or(&mut model);
    match last.strip_suffix(verb) {
        Some(name) => *last = name,
        None => return Err(HttpError::NoRoute { path: parts.uri.path().to_owned() }.into()),
    }
    Ok(model_ref(model, version)?)
}

/// The model that a request names, and the way to the services if it may be asked so about it.
async fn enter<'a>(
    rest: &'a Rest,
    request: Request,
    (operation, id): (Operation, &RequestId),
) -> Result<(Entered<'a>, ModelRef), Refusal> {
    let mut parts = request.into_parts().0;
    let model = model_of(&mut parts).await?;
    let entered = rest.enter(&parts, Asked::new(operation, id).of(&model.name)).await?;
    Ok((entered, model))
}

/// `GET /v2/models/{model}[/versions/{version}]`
pub(crate) async fn metadata(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let (entered, model) = enter(&rest, request, (Operation::ModelMetadata, &id)).await?;
        Ok(json(rest::model_metadata(&entered.services().inference.model_metadata(&model)?)))
    })
    .await
}

/// `GET /v2/models/{model}[/versions/{version}]/config`
pub(crate) async fn config(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let (entered, model) = enter(&rest, request, (Operation::ModelConfig, &id)).await?;
        Ok(json(entered.services().inference.model_config(&model)?.json))
    })
    .await
}

/// `GET /v2/models/{model}[/versions/{version}]/ready`
///
/// 200 with a body that the KServe client can parse, or 503.
pub(crate) async fn ready(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let (entered, model) = enter(&rest, request, (Operation::ModelReady, &id)).await?;
        if !entered.services().inference.model_ready(&model)? {
            return Err(Refusal::from(HttpError::ModelNotReady { model: model.name }));
        }
        let body = serde_json::json!({ "name": model.name.as_str(), "ready": true });
        Ok(json(body.to_string()))
    })
    .await
}
