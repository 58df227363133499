use std::sync::Arc;

use adulis_protocol::rest::{self, RepositoryModel};
use adulis_types::{Asked, Entered, IndexEntry, IndexQuery, Operation, RequestId};
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;

use crate::body::BodyPlan;
use crate::boundary::{Call, answer};
use crate::error::{HttpError, Refusal};
use crate::exchange::read_body;
use crate::rest::Rest;
use crate::router::json;

/// `POST /v2/repository[/{repository}]/index`
pub(crate) async fn index(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    let work = async move {
        let asked = Ask { operation: Operation::ModelIndex, id: &id, limit: rest.options.max_body_bytes };
        let (entered, target, body) = read(&rest, request, asked).await?;
        let query = rest::decode_index_query(target.repository, &body)?;
        drop(body);
        Ok(json(rest::repository_index(&shown(&entered, query).await?)))
    };
    answer(call, work).await
}

/// The part of the index that may be shown to whoever asks. Folders are listed, and repositories that lie elsewhere asked over
/// the network: not on a thread that others wait for.
///
/// # Errors
/// As the service says.
pub(crate) async fn shown(entered: &Entered<'_>, query: IndexQuery) -> Result<Vec<IndexEntry>, Refusal> {
    let service = Arc::clone(&entered.services().inference);
    let index = tokio::task::spawn_blocking(move || service.repository_index(&query)).await;
    let mut index = index.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    index.retain(|entry| entered.shows(&entry.name));
    Ok(index)
}

/// `POST /v2/repository[/{repository}]/models/{model}/load`
///
/// Answers when the model is loaded: 200 without a body.
pub(crate) async fn load(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    let work = async move {
        let asked = Ask { operation: Operation::ModelLoad, id: &id, limit: rest.options.max_load_bytes };
        let (entered, target, body) = read(&rest, request, asked).await?;
        let load = rest::decode_load(target, &body)?;
        // Files are decoded copies: the text that they came in is as large again.
        drop(body);
        entered.load_model(load).await?;
        Ok(Response::new(Body::empty()))
    };
    answer(call, Box::pin(work)).await
}

/// `POST /v2/repository[/{repository}]/models/{model}/unload`
///
/// 200 without a body.
pub(crate) async fn unload(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    let work = async move {
        let asked = Ask { operation: Operation::ModelUnload, id: &id, limit: rest.options.max_body_bytes };
        let (entered, target, body) = read(&rest, request, asked).await?;
        let unload = rest::decode_unload(target, &body)?;
        drop(body);
        let with_dependents = unload.unload_dependents;
        if with_dependents {
            // Which models those are is not for the request to say.
            entered.all_models()?;
        }
        entered.services().inference.unload_model(unload).await?;
        entered.done(|| with_dependents.then(|| "with its dependents".to_owned()));
        Ok(Response::new(Body::empty()))
    };
    answer(call, Box::pin(work)).await
}

/// What is asked of a repository.
struct Ask<'a> {
    operation: Operation,
    id: &'a RequestId,
    /// The longest body.
    limit: usize,
}

/// The way to the services, what the path names, and the body. It needs no content type: Triton's clients send none.
async fn read<'a>(
    rest: &'a Rest,
    request: Request,
    ask: Ask<'_>,
) -> Result<(Entered<'a>, RepositoryModel, Bytes), Refusal> {
    let (mut parts, body) = request.into_parts();
    let target = target_of(&mut parts).await?;
    let entered = rest.enter(&parts, Asked::new(ask.operation, ask.id).of(&target.model)).await?;
    let plan = BodyPlan { declared: None, header_length: None, limit: ask.limit };
    // It is decoded and dropped as soon as it is there, and counts no longer than that.
    let (body, _held) = read_body(rest, &parts.headers, body, plan).await?;
    Ok((entered, target, body))
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
