//! The V1 protocol of KServe and TensorFlow Serving.

use std::sync::Arc;

use adulis_protocol::rest::v1;
use adulis_types::{Asked, IndexQuery, ModelRef, Operation, RequestId, Services};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use smallvec::smallvec;

use crate::HttpOptions;
use crate::beside::Beside;
use crate::boundary::{Call, JSON, answer};
use crate::error::{HttpError, Refusal};
use crate::exchange::{Answer, Exchange};
use crate::form::check_json;
use crate::models::model_in;
use crate::repository::shown;
use crate::rest::Rest;
use crate::router::{json, method_not_allowed};
use crate::routes::Routes;

/// The V1 routes over `services`: `GET /v1/models`, `GET` and `POST` of `/v1/models/{model}[/versions/{version}]` with
/// `:predict` at its end, and `GET /`, which KServe's clients ask whether the server is alive.
///
/// It sets no fallback: other paths below `/v1` are free for the application it is merged into.
pub fn v1_router(services: impl Into<Services>, options: HttpOptions) -> Router {
    let rest = Arc::new(Rest::new(services, options));
    routes().into_router().method_not_allowed_fallback(method_not_allowed).with_state(rest)
}

pub(crate) fn routes() -> Routes {
    let (model, version) = ("/v1/models/{model}", "/v1/models/{model}/versions/{version}");
    Routes::new()
        .get("/", Operation::ServerLive, alive)
        .get("/v1/models", Operation::ModelIndex, models)
        .get(model, Operation::ModelMetadata, status)
        .verb((model, v1::PREDICT), Operation::Infer, predict)
        .get(version, Operation::ModelMetadata, status)
        .verb((version, v1::PREDICT), Operation::Infer, predict)
}

/// `GET /`
async fn alive(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        let entered = rest.enter(&parts, Asked::new(Operation::ServerLive, &id)).await?;
        match entered.services().inference.live() {
            true => Ok(json(r#"{"status":"alive"}"#)),
            false => Err(HttpError::ServerNot { state: "live" }.into()),
        }
    })
    .await
}

/// `GET /v1/models`
async fn models(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        let entered = rest.enter(&parts, Asked::new(Operation::ModelIndex, &id)).await?;
        let index = shown(&entered, IndexQuery::default()).await?;
        let mut names: Vec<&str> = index.iter().map(|entry| &*entry.name).collect();
        // By name, and one entry for each version.
        names.dedup();
        Ok(json(v1::model_list(names)))
    })
    .await
}

/// `GET /v1/models/{model}[/versions/{version}]`
async fn status(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let mut parts = request.into_parts().0;
        let model = model_in(&mut parts, "").await?;
        let entered = rest.enter(&parts, Asked::new(Operation::ModelMetadata, &id).of(&model.name)).await?;
        let service = &entered.services().inference;
        if !service.model_ready(&model)? {
            return Err(Refusal::from(HttpError::ModelNotReady { model: model.name }));
        }
        let metadata = service.model_metadata(&model)?;
        Ok(json(v1::model_status(&model, &metadata.versions)))
    })
    .await
}

/// `POST /v1/models/{model}[/versions/{version}]:predict`
async fn predict(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, Box::pin(run(&rest, request, id))).await
}

async fn run(rest: &Rest, request: Request, id: RequestId) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let model = model_in(&mut parts, v1::PREDICT).await?;
    let entered = rest.enter(&parts, Asked::new(Operation::Infer, &id).of(&model.name)).await?;
    let headers = &parts.headers;
    let exchange = Exchange::begin(rest, entered, headers, id)?;
    check_json(headers)?;
    let body = exchange.read(headers, body, None).await?;
    drop(parts);
    ask(&exchange, model, body).await
}

/// Answers a V1 body that was read.
pub(crate) async fn ask(exchange: &Exchange<'_>, model: ModelRef, body: Bytes) -> Result<Response, Refusal> {
    let metadata = exchange.service().model_metadata(&model)?;
    let decoded = v1::decode_predict(model, &metadata, &body)?;
    drop(body);
    let mut response = exchange.ask(decoded.request).await?;
    let body = v1::encode_predict(&response, decoded.format, decoded.non_finite)?;
    exchange
        .respond(
            Answer { content_type: JSON, header_length: None, chunks: smallvec![body] },
            Beside::take(&mut response),
        )
        .await
}
