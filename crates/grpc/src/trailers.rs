//! What an answer says behind its message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adulis_types::CacheOutcome;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::HeaderValue;
use tonic::codegen::{Bytes, http};

/// Says what the response cache had to do with an answer, and how old that is.
const CACHE: &str = "adulis-cache";

/// Puts what the handler left beside its answer about the response cache into the trailers.
pub(crate) fn trailed(mut response: http::Response<Body>) -> http::Response<Body> {
    let outcome = response.extensions_mut().remove::<CacheOutcome>();
    match outcome.and_then(|outcome| HeaderValue::try_from(outcome.to_string()).ok()) {
        None => response,
        Some(value) => response.map(|body| Body::new(Trailed { body, value: Some(value) })),
    }
}

/// A body whose trailers say one thing more.
struct Trailed {
    body: Body,
    value: Option<HeaderValue>,
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
            && let Some(value) = self.value.take()
        {
            trailers.insert(CACHE, value);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
