//! The one place where outcomes become statuses: codes, metadata, logs, caught panics.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use adulis_protocol::status::grpc_code;
use adulis_telemetry::{causes, panic_message};
use adulis_types::{ErrorKind, Fault, QuotaReport, RequestId, Retry};
use futures_util::FutureExt;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Response, Status};
use tracing::{Instrument, Level, Span};

use crate::error::GrpcError;

/// Target of the access log: one line per call at level `debug`, off unless asked for.
const ACCESS: &str = "adulis::access";
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// gRPC's own way to say when to try again, which its clients' retry policies obey.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
const RETRY_AFTER: &str = "retry-after";

/// What the boundary keeps of a call while it is answered.
#[derive(Clone)]
pub(crate) struct Call {
    /// The name of the RPC, for the access log.
    rpc: &'static str,
    id: RequestId,
    /// The id as the client gave it, to be sent back.
    given: Option<AsciiMetadataValue>,
    /// Only where the access log is on.
    started: Option<Instant>,
}

impl Call {
    /// Takes note of a call. Costs one metadata look-up where the access log is off.
    pub(crate) fn begin(rpc: &'static str, metadata: &MetadataMap) -> Self {
        let value = metadata.get(REQUEST_ID);
        let (id, given) = match value.and_then(|value| RequestId::given(value.as_bytes())) {
            Some(id) => (id, value.cloned()),
            None => (RequestId::next(), None),
        };
        let started = tracing::enabled!(target: ACCESS, Level::DEBUG).then(Instant::now);
        Self { rpc, id, given, started }
    }

    /// A call whose id is known already.
    pub(crate) fn with_id(rpc: &'static str, id: RequestId) -> Self {
        let started = tracing::enabled!(target: ACCESS, Level::DEBUG).then(Instant::now);
        Self { rpc, id, given: None, started }
    }

    /// What the call is called in the log.
    pub(crate) fn id(&self) -> &RequestId {
        &self.id
    }

    /// The id as metadata of the response: the client's own always, one of ours only where it can be found in the log.
    fn value(&self, is_logged: bool) -> Option<AsciiMetadataValue> {
        match &self.given {
            Some(given) => Some(given.clone()),
            None if is_logged => AsciiMetadataValue::try_from(self.id.to_string()).ok(),
            None => None,
        }
    }

    fn span(&self) -> Span {
        match self.started {
            Some(_) => tracing::debug_span!(target: ACCESS, "request", request_id = %self.id),
            None => Span::none(),
        }
    }

    fn log(&self, code: Code) {
        if let Some(started) = self.started {
            tracing::debug!(
                target: ACCESS,
                request_id = %self.id,
                rpc = self.rpc,
                code = ?code,
                seconds = started.elapsed().as_secs_f64(),
                "request"
            );
        }
    }
}

/// Runs a handler's work, catching a panic as an internal error.
pub(crate) async fn guarded<T>(
    call: &Call,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let outcome = AssertUnwindSafe(work).catch_unwind().instrument(call.span()).await;
    outcome.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// Runs a unary handler's work and makes its outcome a response or a status.
pub(crate) async fn answer<T>(
    call: Call,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<Response<T>, Status> {
    match guarded(&call, work).await {
        Ok(message) => {
            call.log(Code::Ok);
            let mut response = Response::new(message);
            if let Some(id) = call.value(call.started.is_some()) {
                response.metadata_mut().insert(REQUEST_ID, id);
            }
            Ok(response)
        }
        Err(fault) => Err(refuse(&call, &fault)),
    }
}

/// The status of an error, and its one log line.
pub(crate) fn refuse(call: &Call, fault: &Fault) -> Status {
    let (kind, request_id) = (fault.kind(), &call.id);
    if kind == ErrorKind::Internal {
        tracing::error!(%request_id, kind = kind.as_str(), error = causes(fault.error()), "request failed");
    } else {
        tracing::debug!(%request_id, kind = kind.as_str(), error = causes(fault.error()), "request refused");
    }
    let mut status = Status::new(grpc_code(kind), fault.client_message());
    let metadata = status.metadata_mut();
    if let Some(report) = fault.quota() {
        write_quota(report, metadata);
    }
    write_retry(fault.retry(), metadata);
    if let Some(id) = call.value(true) {
        metadata.insert(REQUEST_ID, id);
    }
    call.log(status.code());
    status
}

/// When to try again.
pub(crate) fn write_retry(retry: Retry, metadata: &mut MetadataMap) {
    let Retry::After(delay) = retry else {
        return;
    };
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    metadata.insert(RETRY_AFTER, seconds.into());
    let millis = u64::try_from(delay.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    metadata.insert(PUSHBACK, millis.into());
}

/// How the limits of whoever asked stand.
pub(crate) fn write_quota(report: &QuotaReport, metadata: &mut MetadataMap) {
    for (name, value) in report.fields() {
        if let Ok(value) = AsciiMetadataValue::try_from(value) {
            metadata.insert(name, value);
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Fault {
    GrpcError::Panicked { message: panic_message(panic) }.into()
}
