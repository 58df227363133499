//! Triton's generate extension: `generate`, which gives one answer, and `generate_stream`, which gives any number as events.

mod answers;
mod events;

use std::sync::Arc;

use adulis_protocol::rest::{NonFinite, RestRequest, generate};
use adulis_types::{Asked, ErrorKind, InferRequest, InferResponse, Operation, RequestId};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use smallvec::smallvec;

use crate::beside::{Beside, write_quota};
use crate::boundary::{Call, JSON, answer};
use crate::error::{HttpError, Refusal};
use crate::exchange::{Answer, Exchange};
use crate::form::check_json;
use crate::generate::answers::{Answers, only};
use crate::generate::events::{Events, error_event};
use crate::models::model_of;
use crate::rest::Rest;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static(generate::EVENT_STREAM);
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// `POST /v2/models/{model}[/versions/{version}]/generate`
pub(crate) async fn generate(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, Box::pin(run(&rest, request, id))).await
}

/// `POST /v2/models/{model}[/versions/{version}]/generate_stream`
pub(crate) async fn generate_stream(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, Box::pin(open(rest, request, id))).await
}

async fn run(rest: &Rest, request: Request, id: RequestId) -> Result<Response, Refusal> {
    let (exchange, request, non_finite) = read(rest, request, id).await?;
    let mut response = only(exchange.entered().services(), request).await?;
    let body = generate::encode_generate(&response, non_finite)?.into();
    exchange
        .respond(
            Answer { content_type: JSON, header_length: None, chunks: smallvec![body] },
            Beside::take(&mut response),
        )
        .await
}

/// Opens the stream with its first answer, which decides the status. What is refused before the model was run is an ordinary
/// JSON error; what fails in the model is an event, as Triton has it.
async fn open(rest: Arc<Rest>, request: Request, id: RequestId) -> Result<Response, Refusal> {
    let (exchange, request, non_finite) = read(&rest, request, id.clone()).await?;
    let services = exchange.entered().shared();
    let mut answers = Answers::new(services, request, exchange.into_held());
    let first = answers.next().await;
    let mut status = StatusCode::OK;
    let mut quota = None;
    let first = first.map(|first| {
        first.and_then(|mut response| {
            quota = response.quota.take();
            event(&response, non_finite)
        })
    });
    let first = match first {
        None => None,
        Some(Ok(event)) => Some(event),
        Some(Err(refusal)) if refusal.fault.kind() == ErrorKind::Internal => {
            status = refusal.status;
            Some(error_event(&refusal, &id))
        }
        Some(Err(refusal)) => return Err(refusal),
    };
    let mut response = Response::new(Body::new(Events::new(first, answers, (id, non_finite))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, EVENT_STREAM);
    response.headers_mut().insert(header::CACHE_CONTROL, NO_CACHE);
    if let Some(report) = quota {
        write_quota(&report, response.headers_mut());
    }
    Ok(response)
}

async fn read<'a>(
    rest: &'a Rest,
    request: Request,
    id: RequestId,
) -> Result<(Exchange<'a>, InferRequest, NonFinite), Refusal> {
    let (mut parts, body) = request.into_parts();
    let model = model_of(&mut parts).await?;
    let entered = rest.enter(&parts, Asked::new(Operation::Infer, &id).of(&model.name)).await?;
    let headers = &parts.headers;
    let exchange = Exchange::begin(rest, entered, headers, id)?;
    check_json(headers).map_err(|error: HttpError| Refusal::from(error))?;
    let body = exchange.read(headers, body, None).await?;
    let metadata = exchange.service().model_metadata(&model)?;
    let RestRequest { request, format } = generate::decode_generate(model, &metadata, &body)?;
    let request = exchange.prepared(request)?;
    Ok((exchange, request, format.non_finite()))
}

/// An answer as an event.
///
/// # Errors
/// [`EncodeError`](adulis_protocol::EncodeError) where an output has no form in JSON.
fn event(response: &InferResponse, non_finite: NonFinite) -> Result<Bytes, Refusal> {
    Ok(generate::event(&generate::encode_generate(response, non_finite)?))
}
