use std::sync::Arc;

use adulis_protocol::rest::{self, RepositoryModel};
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;

use crate::body::BodyPlan;
use crate::boundary::{Call, answer};
use crate::error::{HttpError, Refusal};
use crate::exchange::read_body;
use crate::router::{Rest, json};

/// `POST /v2/repository[/{repository}]/index`
pub(crate) async fn index(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let work = async move {
        let (target, body) = read(&rest, request, rest.options.max_body_bytes).await?;
        let query = rest::decode_index_query(target.repository, &body)?;
        let service = Arc::clone(&rest.services.inference);
        // Repositories that lie elsewhere are asked over the network.
        let index = tokio::task::spawn_blocking(move || service.repository_index(&query)).await;
        let index = index.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        Ok(json(rest::repository_index(&index)))
    };
    answer(call, work).await
}

/// `POST /v2/repository[/{repository}]/models/{model}/load`
///
/// Answers when the model is loaded: 200 without a body.
pub(crate) async fn load(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let work = async move {
        let (target, body) = read(&rest, request, rest.options.max_load_bytes).await?;
        let load = rest::decode_load(target, &body)?;
        // Files are decoded copies: the text that they came in is as large again.
        drop(body);
        rest.services.inference.load_model(load).await?;
        Ok(Response::new(Body::empty()))
    };
    answer(call, Box::pin(work)).await
}

/// `POST /v2/repository[/{repository}]/models/{model}/unload`
///
/// 200 without a body.
pub(crate) async fn unload(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let work = async move {
        let (target, body) = read(&rest, request, rest.options.max_body_bytes).await?;
        rest.services.inference.unload_model(rest::decode_unload(target, &body)?).await?;
        Ok(Response::new(Body::empty()))
    };
    answer(call, Box::pin(work)).await
}

/// What the path names, and the body. Neither needs a content type: Triton's clients send none.
async fn read(rest: &Rest, request: Request, limit: usize) -> Result<(RepositoryModel, Bytes), Refusal> {
    let (mut parts, body) = request.into_parts();
    let target = target_of(&mut parts).await?;
    let plan = BodyPlan { declared: None, header_length: None, limit };
    Ok((target, read_body(rest, &parts.headers, body, plan).await?))
}

async fn target_of(parts: &mut Parts) -> Result<RepositoryModel, HttpError> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| HttpError::Path)?;
    let mut target = RepositoryModel::default();
    for (key, value) in &parameters {
        match key {
            "repository" => target.repository = value.into(),
            "model" => target.model = value.into(),
            // A parameter of the application that this router is nested in.
            _ => {}
        }
    }
    Ok(target)
}
