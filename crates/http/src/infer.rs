use std::sync::Arc;

use adulis_types::{Asked, Operation, RequestId};
use axum::extract::{Request, State};
use axum::response::Response;

use crate::beside::Beside;
use crate::boundary::{Call, answer};
use crate::error::Refusal;
use crate::exchange::Exchange;
use crate::form::Forms;
use crate::models::model_of;
use crate::rest::Rest;

/// `POST /v2/models/{model}[/versions/{version}]/infer`
pub(crate) async fn infer(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    // Boxed, so that what wraps it moves a pointer and not the kilobytes of the whole future.
    let id = call.id().clone();
    answer(call, Box::pin(run(&rest, request, id))).await
}

async fn run(rest: &Rest, request: Request, id: RequestId) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let model = model_of(&mut parts).await?;
    let entered = rest.enter(&parts, Asked::new(Operation::Infer, &id).of(&model.name)).await?;
    let headers = &parts.headers;
    let exchange = Exchange::begin(rest, entered, headers, id)?;
    let forms = Forms::of(headers)?;
    let header_length = forms.header_length(headers)?;
    let bytes = exchange.read(headers, body, header_length).await?;
    drop(parts);

    let (request, form) = forms.decode(exchange.service(), model, bytes, header_length)?;
    let mut response = exchange.ask(request).await?;
    let beside = Beside::take(&mut response);
    exchange.respond(form.encode(response)?, beside).await
}
