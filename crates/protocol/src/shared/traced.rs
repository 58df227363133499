use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use adulis_types::{
    BoxFuture, Fault, InferRequest, InferResponse, ResponseStream, Services, Trace, TraceMoment,
};
use futures_core::Stream;

/// Asks the service, and notes in the request's trace, if it has one, what it is asked and what it answers.
pub(super) fn ask(services: &Services, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
    let Some(trace) = request.trace.clone() else {
        return services.inference.infer(request);
    };
    Box::pin(async move {
        let at = Instant::now();
        trace.asked(&request, at);
        let result = services.inference.infer(request).await;
        if let Ok(response) = &result {
            trace.answered(response, at);
        }
        trace.note(TraceMoment::RequestEnd);
        result
    })
}

/// The same for any number of answers.
pub(super) fn ask_stream(services: &Services, request: InferRequest) -> ResponseStream<'_> {
    let Some(trace) = request.trace.clone() else {
        return services.inference.infer_stream(request);
    };
    let at = Instant::now();
    trace.asked(&request, at);
    Box::pin(TracedStream { answers: services.inference.infer_stream(request), trace: Some(trace), at })
}

struct TracedStream<'a> {
    answers: ResponseStream<'a>,
    /// None behind the last answer.
    trace: Option<Trace>,
    at: Instant,
}

impl Stream for TracedStream<'_> {
    type Item = Result<InferResponse, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.answers.as_mut().poll_next(context));
        if let (Some(trace), Some(Ok(response))) = (&self.trace, &item) {
            trace.answered(response, self.at);
        }
        let is_last = !matches!(item, Some(Ok(_))) || self.answers.size_hint() == (0, Some(0));
        if let Some(trace) = self.trace.take_if(|_| is_last) {
            trace.note(TraceMoment::RequestEnd);
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.answers.size_hint()
    }
}
