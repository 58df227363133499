use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use adulis_types::{BoxFuture, Fault, InferRequest, InferResponse, ResponseStream, Services};
use futures_core::Stream;

use super::traced::ask_stream;
use super::{Opened, Outputs, write};

/// The answers to a request with tensors in shared memory: its inputs are read before the service is asked, and the outputs of
/// each answer are written before it is handed on.
pub(super) struct SharedStream<'a> {
    services: &'a Services,
    reading: Option<BoxFuture<'a, Result<Read, Fault>>>,
    /// None before the inputs are read, and behind the last answer.
    answers: Option<ResponseStream<'a>>,
    outputs: Arc<Outputs>,
    writing: Option<BoxFuture<'a, Result<InferResponse, Fault>>>,
}

/// A request whose inputs are all in it, and where its outputs go.
type Read = (InferRequest, Outputs);

impl<'a> SharedStream<'a> {
    pub(super) fn new(services: &'a Services, opened: Opened, mut request: InferRequest) -> Self {
        let reading = Box::pin(async move {
            let outputs = opened.read(&mut request).await?;
            Ok((request, outputs))
        });
        Self {
            services,
            reading: Some(reading),
            answers: None,
            outputs: Arc::default(),
            writing: None,
        }
    }
}

impl Stream for SharedStream<'_> {
    type Item = Result<InferResponse, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(reading) = &mut this.reading {
            let read = ready!(reading.as_mut().poll(context));
            this.reading = None;
            match read {
                Ok((request, outputs)) => {
                    this.answers = Some(ask_stream(this.services, request));
                    this.outputs = Arc::new(outputs);
                }
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
        }
        if this.writing.is_none() {
            let Some(answers) = &mut this.answers else {
                return Poll::Ready(None);
            };
            match ready!(answers.as_mut().poll_next(context)) {
                Some(Ok(response)) => {
                    let outputs = Arc::clone(&this.outputs);
                    this.writing = Some(Box::pin(written(outputs, response)));
                }
                last => {
                    this.answers = None;
                    return Poll::Ready(last);
                }
            }
        }
        let Some(writing) = &mut this.writing else {
            return Poll::Ready(None);
        };
        let item = ready!(writing.as_mut().poll(context));
        this.writing = None;
        if item.is_err() {
            this.answers = None;
        }
        Poll::Ready(Some(item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match (&self.reading, &self.writing, &self.answers) {
            (None, None, Some(answers)) => answers.size_hint(),
            (None, None, None) => (0, Some(0)),
            _ => (0, None),
        }
    }
}

async fn written(outputs: Arc<Outputs>, mut response: InferResponse) -> Result<InferResponse, Fault> {
    write(&outputs, &mut response).await?;
    Ok(response)
}
