//! Traces of calls: when they came, and when their answers went.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use adulis_types::{Name, Services, Trace, TraceMoment};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, http};

/// When a call came, before its message was read: kept beside it where anything is traced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived(pub(crate) Instant);

/// The trace of a request whose message is there, if it is chosen. Its call came at `arrived`.
pub(crate) fn trace(services: &Services, model: &Name, arrived: Option<Instant>) -> Option<Trace> {
    let tracing = services.trace.as_ref().filter(|tracing| tracing.is_tracing())?;
    let trace = tracing.sample(model)?;
    let now = Instant::now();
    trace.note_at(TraceMoment::GrpcWaitReadStart, arrived.unwrap_or(now));
    trace.note_at(TraceMoment::GrpcWaitReadEnd, now);
    Some(trace)
}

/// Has the trace that the handler put beside its answer note when that is gone.
pub(crate) fn noted(mut response: http::Response<Body>) -> http::Response<Body> {
    match response.extensions_mut().remove::<Trace>() {
        None => response,
        Some(trace) => response.map(|body| Body::new(Sending { body, trace })),
    }
}

/// A body whose end its trace notes.
struct Sending {
    body: Body,
    trace: Trace,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.trace.note(TraceMoment::GrpcSendEnd);
    }
}
