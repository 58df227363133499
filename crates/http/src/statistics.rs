use std::sync::Arc;

use adulis_protocol::rest;
use adulis_types::{Asked, Operation};
use axum::extract::{Request, State};
use axum::response::Response;

use crate::boundary::{Call, answer};
use crate::models::model_of;
use crate::rest::Rest;
use crate::router::json;

/// `GET /v2/models/stats`
pub(crate) async fn all(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        let entered = rest.enter(&parts, Asked::new(Operation::Statistics, &id)).await?;
        let mut statistics = entered.services().inference.statistics(None)?;
        statistics.retain(|model| entered.shows(&model.name));
        Ok(json(rest::statistics(&statistics)))
    })
    .await
}

/// `GET /v2/models/{model}[/versions/{version}]/stats`
pub(crate) async fn model(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let mut parts = request.into_parts().0;
        let model = model_of(&mut parts).await?;
        let entered = rest.enter(&parts, Asked::new(Operation::Statistics, &id).of(&model.name)).await?;
        Ok(json(rest::statistics(&entered.services().inference.statistics(Some(&model))?)))
    })
    .await
}
