use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adulis_telemetry::panic_message;
use adulis_types::{HeldBody, InferRequest, InferResponse, ResponseStream, Services};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use crate::deadline::Deadline;
use crate::error::{HttpError, Refusal};

/// The answers to a request, by themselves: the service that gives them is in there. Dropped before their end, they cancel the
/// request.
pub(super) struct Answers {
    /// Puts the answers into `items`. It runs in the polls of these, and is done behind the last.
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    items: mpsc::Receiver<Item>,
}

type Item = Result<InferResponse, Refusal>;

impl Answers {
    /// `held` is what the request's body holds, as long as it is answered.
    pub(super) fn new(services: Arc<Services>, request: InferRequest, held: HeldBody) -> Self {
        let (sender, items) = mpsc::channel(1);
        let work = async move {
            let _held = held;
            let failures = sender.clone();
            let run = AssertUnwindSafe(run(&services, request, sender)).catch_unwind().await;
            if let Err(panic) = run {
                let error = HttpError::Panicked { message: panic_message(&*panic) };
                // The receiver lives as long as what polls this.
                let _ = failures.send(Err(error.into())).await;
            }
        };
        Self { work: Some(Box::pin(work)), items }
    }

    pub(super) async fn next(&mut self) -> Option<Item> {
        poll_fn(|context| self.poll(context)).await
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        if let Ok(item) = self.items.try_recv() {
            return Poll::Ready(Some(item));
        }
        let Some(work) = &mut self.work else {
            return Poll::Ready(None);
        };
        let is_done = work.as_mut().poll(context).is_ready();
        if is_done {
            self.work = None;
        }
        match self.items.try_recv() {
            Ok(item) => Poll::Ready(Some(item)),
            Err(_) if is_done => Poll::Ready(None),
            Err(_) => Poll::Pending,
        }
    }
}

async fn run(services: &Services, request: InferRequest, sender: mpsc::Sender<Item>) {
    let deadline = Deadline::of(&request);
    let mut stream = adulis_protocol::infer_stream(services, request);
    while let Some(item) = next(&mut stream, deadline.as_ref()).await {
        let is_error = item.is_err();
        if sender.send(item).await.is_err() || is_error {
            return;
        }
    }
}

/// The one answer to a request. A second one is not waited for longer than it takes to tell that there is one.
///
/// # Errors
/// The service's; [`HttpError::Answers`] for none or several.
pub(super) async fn only(services: &Services, request: InferRequest) -> Result<InferResponse, Refusal> {
    let model = request.model.name.clone();
    let deadline = Deadline::of(&request);
    let mut stream = adulis_protocol::infer_stream(services, request);
    let other = || Err(HttpError::Answers { model: model.clone() }.into());
    let Some(first) = next(&mut stream, deadline.as_ref()).await.transpose()? else {
        return other();
    };
    if stream.size_hint() == (0, Some(0)) {
        return Ok(first);
    }
    match next(&mut stream, deadline.as_ref()).await.transpose()? {
        None => Ok(first),
        Some(_) => other(),
    }
}

async fn next(stream: &mut ResponseStream<'_>, deadline: Option<&Deadline>) -> Option<Item> {
    let item = match deadline {
        None => stream.next().await,
        Some(deadline) => match deadline.within(stream.next()).await {
            Ok(item) => item,
            Err(late) => return Some(Err(late.into())),
        },
    };
    item.map(|item| item.map_err(Refusal::from))
}
