use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adulis_types::{Fault, InferResponse, ResponseStream};
use futures_core::Stream;

use super::{Recording, Watched};

/// The answers of a request, each noted as it passes.
pub(super) struct Watching<'a> {
    service: &'a Recording,
    watched: Watched,
    answers: ResponseStream<'a>,
    /// How many there were.
    count: u32,
}

impl<'a> Watching<'a> {
    pub(super) fn new(service: &'a Recording, watched: Watched, answers: ResponseStream<'a>) -> Self {
        Self { service, watched, answers, count: 0 }
    }
}

impl Stream for Watching<'_> {
    type Item = Result<InferResponse, Fault>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = ready!(this.answers.as_mut().poll_next(context));
        if let Some(outcome) = &item {
            this.service.answered(&mut this.watched, this.count, outcome);
            this.count = this.count.saturating_add(1);
        }
        Poll::Ready(item)
    }

    /// That of the answers: by it clients are told which is the last.
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.answers.size_hint()
    }
}
