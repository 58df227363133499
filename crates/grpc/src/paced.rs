use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use adulis_protocol::{Late, Pace};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;

/// The body of a call, which must arrive fast enough: that of a unary call is one message, and holds memory until it is whole.
///
/// One that is there at once costs no timer.
pub(crate) struct Paced {
    body: Body,
    /// `None` for a stream of messages, which come when they come.
    pace: Option<Pace>,
    began: Option<Instant>,
    received: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(crate) fn new(body: Body, pace: Option<Pace>) -> Self {
        Self { body, pace, began: None, received: 0, timer: None }
    }

    /// Resolves when the body is too late.
    fn poll_late(&mut self, pace: Pace, cx: &mut Context<'_>) -> Poll<Status> {
        let began = *self.began.get_or_insert_with(Instant::now);
        loop {
            let due = began + pace.deadline(self.received);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(late) = pace.late(began.elapsed(), self.received) {
                return Poll::Ready(status(late, pace));
            }
            timer.as_mut().reset(due);
        }
    }
}

fn status(late: Late, pace: Pace) -> Status {
    Status::deadline_exceeded(match late {
        Late::Whole => format!("the request's message did not arrive within {:?}", pace.whole),
        Late::Slow => format!(
            "the request's message arrives too slowly: at least {} bytes per second are wanted",
            pace.bytes_per_second
        ),
    })
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                self.received += data.len();
            }
            return Poll::Ready(frame);
        }
        match self.pace {
            None => Poll::Pending,
            Some(pace) => self.poll_late(pace, cx).map(|status| Some(Err(status))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
