//! The one place where outcomes become responses: statuses, headers, logs, caught panics.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use adulis_telemetry::{causes, panic_message};
use adulis_types::{ErrorKind, RequestId, Retry};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tracing::{Instrument, Level, Span};

use crate::beside::write_quota;
use crate::error::{HttpError, Refusal};

/// Target of the access log: one line per request at level `debug`, off unless asked for.
const ACCESS: &str = "adulis::access";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"adulis\"");
/// No browser is to take an answer for anything but what it says it is, such as a page with scripts.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the boundary keeps of a request while it is answered.
pub(crate) struct Call {
    id: RequestId,
    /// The id as the client gave it, to be sent back.
    given: Option<HeaderValue>,
    /// Only where the access log is on.
    trace: Option<Box<Trace>>,
}

struct Trace {
    started: Instant,
    method: http::Method,
    path: String,
}

impl Call {
    /// Takes note of a request. Costs one header look-up where the access log is off.
    pub(crate) fn begin(request: &Request) -> Self {
        let header = request.headers().get(REQUEST_ID);
        let (id, given) = match header.and_then(|header| RequestId::given(header.as_bytes())) {
            Some(id) => (id, header.cloned()),
            None => (RequestId::next(), None),
        };
        let trace = tracing::enabled!(target: ACCESS, Level::DEBUG).then(|| {
            Box::new(Trace {
                started: Instant::now(),
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
            })
        });
        Self { id, given, trace }
    }

    /// What the request is called in the log.
    pub(crate) fn id(&self) -> &RequestId {
        &self.id
    }

    /// The id as a header of the response: the client's own always, one of ours only where it can be found in the log.
    fn header(&self, is_logged: bool) -> Option<HeaderValue> {
        match &self.given {
            Some(given) => Some(given.clone()),
            None if is_logged => HeaderValue::try_from(self.id.to_string()).ok(),
            None => None,
        }
    }

    fn span(&self) -> Span {
        match self.trace {
            Some(_) => tracing::debug_span!(target: ACCESS, "request", request_id = %self.id),
            None => Span::none(),
        }
    }

    fn log(&self, response: &Response) {
        if let Some(trace) = &self.trace {
            tracing::debug!(
                target: ACCESS,
                request_id = %self.id,
                method = %trace.method,
                path = trace.path,
                status = response.status().as_u16(),
                seconds = trace.started.elapsed().as_secs_f64(),
                "request"
            );
        }
    }
}

/// Runs a handler's work and makes its outcome a response. A panic is answered as an internal error.
pub(crate) async fn answer<F>(call: Call, work: F) -> Response
where
    F: Future<Output = Result<Response, Refusal>>,
{
    let outcome = AssertUnwindSafe(work).catch_unwind().instrument(call.span()).await;
    let result =
        outcome.unwrap_or_else(|panic| Err(HttpError::Panicked { message: panic_message(&*panic) }.into()));
    let is_logged = result.is_err() || call.trace.is_some();
    let mut response = result.unwrap_or_else(|refusal| refuse(&refusal, &call.id));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if let Some(id) = call.header(is_logged) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    call.log(&response);
    response
}

/// The one log line of an error.
pub(crate) fn note(refusal: &Refusal, request_id: &RequestId) {
    let fault = &refusal.fault;
    let kind = fault.kind();
    if kind == ErrorKind::Internal {
        tracing::error!(%request_id, kind = kind.as_str(), error = causes(fault.error()), "request failed");
    } else {
        tracing::debug!(%request_id, kind = kind.as_str(), error = causes(fault.error()), "request refused");
    }
}

fn refuse(refusal: &Refusal, request_id: &RequestId) -> Response {
    note(refusal, request_id);
    let (fault, status) = (&refusal.fault, refusal.status);
    let body = adulis_protocol::rest::error_body(&fault.client_message());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    if status == StatusCode::UNAUTHORIZED {
        // Which way there is to say who one is.
        response.headers_mut().insert(header::WWW_AUTHENTICATE, BEARER);
    }
    if let Some(report) = fault.quota() {
        write_quota(report, response.headers_mut());
    }
    if let Retry::After(delay) = fault.retry() {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
