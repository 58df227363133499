use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use adulis_protocol::rest::{NonFinite, error_body, generate};
use adulis_types::RequestId;
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use crate::boundary::note;
use crate::error::Refusal;
use crate::generate::answers::Answers;
use crate::generate::event;

/// After so long without an event a comment is sent, which clients skip: so that nobody on the way takes the connection for
/// dead, and a client that is gone is noticed.
const SILENCE: Duration = Duration::from_secs(60);
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// A response body of Server-Sent Events: each answer as soon as it is there, and an error as the last event. A client that does
/// not read holds the model up.
pub(super) struct Events {
    first: Option<Bytes>,
    answers: Option<Answers>,
    silence: Pin<Box<Sleep>>,
    id: RequestId,
    non_finite: NonFinite,
}

impl Events {
    /// The events behind `first`, of the request with this id and this way to write NaN and infinities.
    pub(super) fn new(
        first: Option<Bytes>,
        answers: Answers,
        (id, non_finite): (RequestId, NonFinite),
    ) -> Self {
        Self { first, answers: Some(answers), silence: Box::pin(sleep(SILENCE)), id, non_finite }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let Some(answers) = &mut self.answers else {
            return Poll::Ready(None);
        };
        let item = match answers.poll(context) {
            Poll::Ready(item) => item,
            Poll::Pending => return self.silence.as_mut().poll(context).map(|()| Some(COMMENT)),
        };
        match item.map(|item| item.and_then(|response| event(&response, self.non_finite))) {
            Some(Ok(event)) => Poll::Ready(Some(event)),
            Some(Err(refusal)) => {
                self.answers = None;
                Poll::Ready(Some(error_event(&refusal, &self.id)))
            }
            None => {
                self.answers = None;
                Poll::Ready(None)
            }
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.poll_event(context);
        if polled.is_ready() {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
        }
        polled.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

/// The event of an error, which is logged here.
pub(super) fn error_event(refusal: &Refusal, id: &RequestId) -> Bytes {
    note(refusal, id);
    generate::event(&error_body(&refusal.fault.client_message()))
}
