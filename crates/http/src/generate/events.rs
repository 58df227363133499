use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use adulis_protocol::rest::{error_body, generate};
use adulis_types::RequestId;
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use crate::boundary::note;
use crate::error::Refusal;
use crate::generate::answers::Answers;

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
}

impl Events {
    /// The events behind `first`.
    pub(super) fn new(first: Option<Bytes>, answers: Answers, id: RequestId) -> Self {
        Self { first, answers: Some(answers), silence: Box::pin(sleep(SILENCE)), id }
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
        let encoded = item.map(|item| item.and_then(|response| Ok(generate::encode_generate(&response)?)));
        match encoded {
            Some(Ok(json)) => Poll::Ready(Some(generate::event(&json))),
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
