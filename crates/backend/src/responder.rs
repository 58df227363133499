use std::fmt;

use adulis_tensor::Tensor;
use adulis_types::Parameters;

use crate::BatchRequest;

/// Answers one request of a batch, any number of times: one [`Responder::send`] for each answer, and one of
/// [`Responder::send_last`], [`Responder::finish`] and [`Responder::fail`] at the end.
///
/// It may outlive the run that it was handed to, and be moved to another thread. Dropped before its end, it ends the request
/// with an error.
pub struct Responder {
    request: BatchRequest,
    sink: Box<dyn ResponseSink>,
    sent: u64,
}

/// One answer to a request of a decoupled model.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// All outputs, in the signature's order. Their shapes are the model's affair.
    pub outputs: Vec<Tensor>,
    /// Custom parameters of the answer.
    pub parameters: Parameters,
}

/// That nobody waits for answers any more: the client has gone, or its time is up. What else there is to do for the request
/// may be left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client does not wait for answers any more")]
pub struct Gone;

/// Where a responder's answers go. The engine's side of [`Responder`].
pub trait ResponseSink: Send + 'static {
    /// Takes an answer, the last one or not; waits while the client has not taken enough of those before.
    ///
    /// # Errors
    /// [`Gone`] where nobody wants it.
    fn send(&mut self, response: Response, is_last: bool) -> Result<(), Gone>;

    /// Takes note that there is no further answer: that was all, or something failed.
    fn end(&mut self, outcome: Result<(), String>);

    /// Whether nobody waits for answers any more.
    fn is_gone(&self) -> bool;
}

impl Responder {
    /// Answers `request` into `sink`.
    pub fn new(request: BatchRequest, sink: impl ResponseSink) -> Self {
        Self { request, sink: Box::new(sink), sent: 0 }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &BatchRequest {
        &self.request
    }

    /// Answers that were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends an answer that more may follow.
    ///
    /// Blocks while the client has not taken those before: the engine holds a few answers and no more.
    ///
    /// # Errors
    /// [`Gone`] where nobody wants it.
    pub fn send(&mut self, response: Response) -> Result<(), Gone> {
        self.sink.send(response, false)?;
        self.sent += 1;
        Ok(())
    }

    /// Sends the last answer. Blocks as [`Responder::send`] does.
    ///
    /// # Errors
    /// [`Gone`] where nobody wants it.
    pub fn send_last(mut self, response: Response) -> Result<(), Gone> {
        self.sink.send(response, true)
    }

    /// Ends the request without a further answer.
    pub fn finish(mut self) {
        self.sink.end(Ok(()));
    }

    /// Ends the request with an error, whose reason the client is told.
    pub fn fail(mut self, reason: impl Into<String>) {
        self.sink.end(Err(reason.into()));
    }

    /// Whether the client has gone, or its time is up. To be asked from time to time by what takes long.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.sink.is_gone()
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("request", &self.request)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}
