use std::sync::Arc;

use adulis_protocol::rest;
use axum::extract::{Request, State};
use axum::response::Response;

use crate::boundary::{Call, answer};
use crate::models::model_of;
use crate::router::{Rest, json};

/// `GET /v2/models/stats`
pub(crate) async fn all(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    answer(
        call,
        async move { Ok(json(rest::statistics(&rest.services.inference.statistics(None)?))) },
    )
    .await
}

/// `GET /v2/models/{model}[/versions/{version}]/stats`
pub(crate) async fn model(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    answer(call, async move {
        let model = model_of(&mut request.into_parts().0).await?;
        Ok(json(rest::statistics(&rest.services.inference.statistics(Some(&model))?)))
    })
    .await
}
