//! Routes of the response cache: what it holds, and to purge it.

use std::sync::Arc;

use adulis_protocol::{cache_report, purge_cache, rest};
use adulis_types::{Asked, Name, Operation};
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::response::Response;

use crate::boundary::{Call, answer};
use crate::error::HttpError;
use crate::rest::Rest;
use crate::router::json;

/// `GET /v2/cache`
pub(crate) async fn report(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        let entered = rest.enter(&parts, Asked::new(Operation::CacheReport, &id)).await?;
        let mut report = cache_report(entered.services())?;
        report.models.retain(|model| entered.shows(&model.name));
        Ok(json(rest::cache_report(&report)))
    })
    .await
}

/// `POST /v2/cache/purge`, `POST /v2/cache/models/{model}/purge`
///
/// The body is not read: there is nothing to say.
pub(crate) async fn purge(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    let work = async move {
        let mut parts = request.into_parts().0;
        let parameters =
            RawPathParams::from_request_parts(&mut parts, &()).await.map_err(|_| HttpError::Path)?;
        // The last: one before it is the application's that this router is nested in.
        let model = parameters.iter().filter(|(key, _)| *key == "model").last();
        let model: Option<Name> = model.map(|(_, name)| name.into());
        let asked = Asked::new(Operation::CachePurge, &id).of(model.as_deref().unwrap_or_default());
        let entered = rest.enter(&parts, asked).await?;
        if model.is_none() {
            entered.all_models()?;
        }
        // Every entry is looked at: that is not for a thread that others wait for.
        let services = entered.shared();
        let purge = move || purge_cache(&services, model.as_deref());
        let purged = tokio::task::spawn_blocking(purge).await;
        let purged = purged.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        entered.done(|| Some(format!("{purged} answers forgotten")));
        Ok(json(rest::cache_purged(purged)))
    };
    answer(call, work).await
}
