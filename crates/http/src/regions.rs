//! Routes of the shared memory extensions.

use std::sync::Arc;

use adulis_protocol::{
    cuda_region_refused, no_cuda_regions, region_statuses, register_region, rest, unregister_regions,
};
use adulis_types::{Asked, Entered, Name, Operation, RequestId};
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::response::Response;
use http::request::Parts;

use crate::body::BodyPlan;
use crate::boundary::{Call, answer};
use crate::error::{HttpError, Refusal};
use crate::exchange::read_body;
use crate::rest::Rest;
use crate::router::json;

/// Longest body that registers a region: names and numbers.
const MAX_REGISTER_BYTES: usize = 16 * 1024;

/// `GET /v2/systemsharedmemory[/region/{region}]/status`
pub(crate) async fn status(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let mut parts = request.into_parts().0;
        let (entered, name) = enter(&rest, &mut parts, (Operation::SharedMemoryStatus, &id)).await?;
        Ok(json(rest::region_statuses(&region_statuses(entered.services(), &name)?)))
    })
    .await
}

/// `POST /v2/systemsharedmemory/region/{region}/register`
///
/// 200 without a body.
pub(crate) async fn register(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    let work = async move {
        let (mut parts, body) = request.into_parts();
        let (entered, name) = enter(&rest, &mut parts, (Operation::SharedMemoryRegister, &id)).await?;
        let limit = rest.options.max_body_bytes.min(MAX_REGISTER_BYTES);
        let plan = BodyPlan { declared: None, header_length: None, limit };
        let (body, _held) = read_body(&rest, &parts.headers, body, plan).await?;
        let region = rest::decode_region(name.clone(), &body)?;
        register_region(entered.services(), region)?;
        entered.done(|| Some(format!("region '{name}'")));
        Ok(Response::new(Body::empty()))
    };
    answer(call, Box::pin(work)).await
}

/// `POST /v2/systemsharedmemory[/region/{region}]/unregister`
///
/// 200 without a body.
pub(crate) async fn unregister(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let mut parts = request.into_parts().0;
        let (entered, name) = enter(&rest, &mut parts, (Operation::SharedMemoryUnregister, &id)).await?;
        unregister_regions(entered.services(), &name);
        entered.done(|| Some(format!("region '{name}'")).filter(|_| !name.is_empty()));
        Ok(Response::new(Body::empty()))
    })
    .await
}

/// `GET /v2/cudasharedmemory[/region/{region}]/status`
pub(crate) async fn cuda_status(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let mut parts = request.into_parts().0;
        let (_, name) = enter(&rest, &mut parts, (Operation::SharedMemoryStatus, &id)).await?;
        no_cuda_regions(&name)?;
        Ok(json(rest::region_statuses(&[])))
    })
    .await
}

/// `POST /v2/cudasharedmemory/region/{region}/register`
pub(crate) async fn cuda_register(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let mut parts = request.into_parts().0;
        let (_, name) = enter(&rest, &mut parts, (Operation::SharedMemoryRegister, &id)).await?;
        Err(cuda_region_refused(&name).into())
    })
    .await
}

/// `POST /v2/cudasharedmemory[/region/{region}]/unregister`
///
/// There is nothing to forget, which clients ask for before anything else.
pub(crate) async fn cuda_unregister(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let mut parts = request.into_parts().0;
        let (entered, _) = enter(&rest, &mut parts, (Operation::SharedMemoryUnregister, &id)).await?;
        entered.done(|| None);
        Ok(Response::new(Body::empty()))
    })
    .await
}

/// The way to the services, and the region that the path names; empty where it names none.
async fn enter<'a>(
    rest: &'a Rest,
    parts: &mut Parts,
    (operation, id): (Operation, &RequestId),
) -> Result<(Entered<'a>, Name), Refusal> {
    let name = region_of(parts).await?;
    Ok((rest.enter(parts, Asked::new(operation, id)).await?, name))
}

/// The region that the path names; empty where it names none.
async fn region_of(parts: &mut Parts) -> Result<Name, HttpError> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| HttpError::Path)?;
    // The last: one before it is the application's that this router is nested in.
    let region = parameters.iter().filter(|(key, _)| *key == "region").last();
    Ok(region.map(|(_, name)| name.into()).unwrap_or_default())
}
