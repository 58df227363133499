use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_protocol::rest::{self, INFERENCE_HEADER_CONTENT_LENGTH, RestBody};
use adulis_types::InferRequest;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::body::{self, BodyPlan};
use crate::boundary::{Call, JSON, answer};
use crate::chunks::Chunks;
use crate::coding::{self, Coding};
use crate::error::{HttpError, Refusal};
use crate::models::model_of;
use crate::router::Rest;
use crate::timeouts::{self, within};

const HEADER_LENGTH: HeaderName = HeaderName::from_static(INFERENCE_HEADER_CONTENT_LENGTH);
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// How much longer than the request's timeout the frontend waits: the service knows where the time went, so it has the
/// first word.
const DEADLINE_GRACE: Duration = Duration::from_millis(2);

/// `POST /v2/models/{model}[/versions/{version}]/infer`
pub(crate) async fn infer(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    // Boxed, so that what wraps it moves a pointer and not the kilobytes of the whole future.
    answer(call, Box::pin(run(&rest, request))).await
}

async fn run(rest: &Rest, request: Request) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let (mut parts, body) = request.into_parts();
    let model = model_of(&mut parts).await?;
    let headers = &parts.headers;
    check_content_type(headers)?;
    let header_length = length_header(headers, &HEADER_LENGTH)?;
    let timeout = timeouts::from_headers(headers)?;
    let accepted = coding::for_response(headers, rest.options.compression);
    let bytes = read_body(rest, headers, body, header_length).await?;
    drop(parts);

    let decoded = rest::decode_infer(model, bytes, header_length)?;
    let mut request = decoded.request;
    request.arrived = arrived;
    if let Some(timeout) = timeout {
        request.limit_timeout(timeout);
    }
    if let Some(timeout) = rest.options.request_timeout {
        request.limit_timeout(timeout);
    }
    let response = call_service(rest, request).await?;
    let body = rest::encode_infer(response, &decoded.format)?;
    respond(rest, body, accepted).await
}

async fn read_body(
    rest: &Rest,
    headers: &HeaderMap,
    body: Body,
    header_length: Option<usize>,
) -> Result<Bytes, HttpError> {
    let coding = coding::of_request(headers)?;
    let plan = BodyPlan {
        declared: length_header(headers, &header::CONTENT_LENGTH)?,
        // The header's length is of the decompressed body.
        header_length: header_length.filter(|_| coding.is_none()),
        limit: rest.options.max_body_bytes,
    };
    let waited = rest.options.body_timeout;
    let bytes = within(waited, body::read(body, plan)).await.ok_or(HttpError::BodyTimeout { waited })??;
    match coding {
        None => Ok(bytes),
        Some(coding) => {
            let plan = BodyPlan { header_length, ..plan };
            rest.codec.inflate(coding, bytes, plan).await
        }
    }
}

async fn call_service(rest: &Rest, request: InferRequest) -> Result<adulis_types::InferResponse, Refusal> {
    let Some(timeout) = request.timeout else {
        return Ok(rest.service.infer(request).await?);
    };
    let model = request.model.name.clone();
    let left = timeout.saturating_sub(request.arrived.elapsed()) + DEADLINE_GRACE;
    match within(left, rest.service.infer(request)).await {
        Some(outcome) => Ok(outcome?),
        None => Err(HttpError::Deadline { model, waited: timeout }.into()),
    }
}

async fn respond(rest: &Rest, body: RestBody, accepted: Option<Coding>) -> Result<Response, Refusal> {
    let length: usize = body.chunks.iter().map(Bytes::len).sum();
    let coding = accepted.filter(|_| length >= rest.options.min_compress_bytes);
    let mut response = match coding {
        None => Response::new(Body::new(Chunks::new(body.chunks))),
        Some(coding) => {
            let compressed = rest.codec.deflate(coding, body.chunks).await?;
            let mut response = Response::new(Body::from(compressed));
            response.headers_mut().insert(header::CONTENT_ENCODING, coding.header_value());
            response
        }
    };
    let headers = response.headers_mut();
    match body.header_length {
        Some(length) => {
            headers.insert(header::CONTENT_TYPE, OCTETS);
            headers.insert(HEADER_LENGTH, length.into());
        }
        None => {
            headers.insert(header::CONTENT_TYPE, JSON);
        }
    }
    Ok(response)
}

/// Refuses what cannot be an inference body. As lenient as Triton, which does not look: clients without a content type,
/// and curl's own `application/x-www-form-urlencoded`, are served.
fn check_content_type(headers: &HeaderMap) -> Result<(), HttpError> {
    const SERVED: [&str; 4] = [
        "application/octet-stream",
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
    ];
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or("?");
    let essence = text.split(';').next().unwrap_or("").trim();
    let served = essence.is_empty()
        || SERVED.iter().any(|name| essence.eq_ignore_ascii_case(name))
        || essence.to_ascii_lowercase().ends_with("+json");
    if served {
        return Ok(());
    }
    Err(HttpError::ContentType { given: String::from_utf8_lossy(value.as_bytes()).into_owned() })
}

fn length_header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<usize>, HttpError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("").trim();
    // `parse` alone would take a leading plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if digits => Ok(Some(length)),
        _ => Err(HttpError::Header {
            name: if *name == HEADER_LENGTH {
                "inference-header-content-length"
            } else {
                "content-length"
            },
            given: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            expected: "a length in bytes",
        }),
    }
}
