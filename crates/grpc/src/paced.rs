mod frames;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use adulis_protocol::status::grpc_code;
use adulis_protocol::{Late, Pace};
use adulis_types::{BodyBudget, BudgetSpent, HeldBody, ServiceError};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;

use crate::boundary::write_retry;
pub(crate) use frames::Frames;

/// A message that was due longer ago than this was not looked for: nobody reads from a client that does not take its answers.
const UNSEEN: Duration = Duration::from_secs(1);

/// The body of a call, whose messages must arrive fast enough, and find room in the server's memory: each holds some from its
/// first byte until it is whole. What it holds from then on, decompressed, its handler counts.
///
/// That of a unary call is one message, from the call on. On a stream messages come when they come: only one of which a
/// part is there has to go on. What is there at once costs no timer.
pub(crate) struct Paced {
    body: Body,
    pace: Pace,
    /// Where the messages of a stream begin and end; `None` for a unary call.
    frames: Option<Frames>,
    /// Since when the rest of a message is waited for.
    began: Option<Instant>,
    /// Of that message.
    received: usize,
    timer: Option<Pin<Box<Sleep>>>,
    budget: BodyBudget,
    /// What the message has of it.
    held: HeldBody,
}

impl Paced {
    /// The body of a unary call.
    pub(crate) fn message(body: Body, pace: Pace, budget: BodyBudget) -> Self {
        Self {
            body,
            pace,
            frames: None,
            began: None,
            received: 0,
            timer: None,
            budget,
            held: HeldBody::default(),
        }
    }

    /// The body of a call whose client sends any number of messages.
    pub(crate) fn stream(body: Body, pace: Pace, budget: BodyBudget) -> Self {
        Self { frames: Some(Frames::default()), ..Self::message(body, pace, budget) }
    }

    /// # Errors
    /// [`BudgetSpent`] where there is no room for more of a message.
    fn take(&mut self, data: &[u8]) -> Result<(), BudgetSpent> {
        let Some(frames) = &mut self.frames else {
            self.received += data.len();
            return self.budget.take(&mut self.held, data.len());
        };
        let mut came = data.len();
        if frames.advance(data) {
            self.began = None;
            self.timer = None;
            // Of the piece, the beginning of the next message is left.
            self.held = HeldBody::default();
            came = frames.received();
        }
        self.received = frames.received();
        self.budget.take(&mut self.held, came)
    }

    /// Whether the client owes the rest of a message.
    fn is_owed(&self) -> bool {
        self.frames.is_none() || self.received > 0
    }

    /// Resolves when the message is too late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let pace = self.pace;
        let mut began = *self.began.get_or_insert_with(Instant::now);
        loop {
            let due = began + pace.deadline(self.received);
            if self.frames.is_some() && due.elapsed() > UNSEEN {
                began = Instant::now();
                self.began = Some(began);
                self.timer = None;
                continue;
            }
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

/// Too early for a handler, which would be told so in the same words.
fn refused(spent: BudgetSpent) -> Status {
    let mut status = Status::new(grpc_code(spent.kind()), spent.client_message());
    write_retry(spent.retry(), status.metadata_mut());
    status
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
                && let Err(spent) = self.take(data)
            {
                return Poll::Ready(Some(Err(refused(spent))));
            }
            return Poll::Ready(frame);
        }
        if !self.is_owed() {
            return Poll::Pending;
        }
        self.poll_late(cx).map(|status| Some(Err(status)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
