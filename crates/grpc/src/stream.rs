mod answers;
mod order;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use adulis_protocol::grpc::{ModelInferRequest, ModelStreamInferResponse};
use adulis_types::{Asked, CacheDirective, Fault, Operation, Parameters, Pass};
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::boundary::{Call, answer, refuse};
use crate::frontend::Shared;
use crate::infer::cache_directive;
use crate::server::corrected_status;
use crate::stream::answers::{Answered, Requested, Running};
use crate::stream::order::Order;
use crate::timeout;

/// Metadata with which a client of Triton asks that an error ends the stream as its status.
const GRPC_ERRORS: &str = "triton_grpc_error";

/// Opens a stream of inferences.
pub(crate) async fn responses(
    shared: &Arc<Shared>,
    request: Request<Streaming<ModelInferRequest>>,
) -> Result<Response<BoxStream<ModelStreamInferResponse>>, Status> {
    let (metadata, extensions, requests) = request.into_parts();
    let call = Call::begin("ModelStreamInfer", &metadata);
    let id = call.id().clone();
    answer(call.clone(), async {
        shared.enter(&extensions, &Asked::new(Operation::Infer, &id))?;
        let pass = extensions.get::<Pass>().cloned();
        let stream = InferStream::open(Arc::clone(shared), call, pass, (&metadata, requests))?;
        Ok(Box::pin(stream) as BoxStream<ModelStreamInferResponse>)
    })
    .await
}

/// The responses of one `ModelStreamInfer` stream.
///
/// Requests are answered side by side. Answers of ordinary models leave in the order of their requests, as Triton's do; those
/// of decoupled models as soon as they are there, told apart by their ids. At most `max_stream_requests` are in progress;
/// while there are so many, nothing is read from the client. A service whose answers the client does not take is not asked
/// for more of them.
///
/// An error rides in `error_message` beside an answer that repeats the request's id, and the stream stays open, unless the
/// client set `triton_grpc_error: true`. Dropping the stream cancels all that is in progress.
struct InferStream {
    shared: Arc<Shared>,
    call: Call,
    /// Who sends the requests, as far as somebody is asked.
    pass: Option<Pass>,
    deadline: Option<Instant>,
    /// Metadata of the stream that are parameters of its requests.
    forwarded: Arc<Parameters>,
    /// Whether the client wants answers that are remembered.
    cache: CacheDirective,
    errors_end: bool,
    requests: Option<Streaming<ModelInferRequest>>,
    running: FuturesUnordered<Running>,
    order: Order,
    /// Where running requests put answers that are not their last. All of them run in this stream's own polls, so that
    /// nothing waits on the receiver's side.
    early: (mpsc::Sender<Answered>, mpsc::Receiver<Answered>),
    ended: bool,
}

impl InferStream {
    /// # Errors
    /// `InvalidArgument` for a timeout that cannot be read.
    fn open(
        shared: Arc<Shared>,
        call: Call,
        pass: Option<Pass>,
        (metadata, requests): (&MetadataMap, Streaming<ModelInferRequest>),
    ) -> Result<Self, Fault> {
        let timeout = timeout::from_metadata(metadata)?;
        let errors_end = metadata.get(GRPC_ERRORS).is_some_and(|value| value == "true");
        let forwarded = Arc::new(shared.forwarded(metadata));
        Ok(Self {
            shared,
            forwarded,
            cache: cache_directive(metadata),
            call,
            pass,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            errors_end,
            requests: Some(requests),
            running: FuturesUnordered::new(),
            order: Order::default(),
            early: mpsc::channel(1),
            ended: false,
        })
    }

    /// Starts what the client has sent, as far as there is room. `Err` where the client's side broke.
    fn take_requests(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        while self.running.len() + self.order.held() < self.shared.options.max_stream_requests.max(1) {
            let Some(requests) = &mut self.requests else {
                return Ok(());
            };
            match Pin::new(requests).poll_next(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => self.requests = None,
                Poll::Ready(Some(Err(status))) => return Err(corrected_status(&status)),
                Poll::Ready(Some(Ok(message))) => self.start(message),
            }
        }
        Ok(())
    }

    fn start(&mut self, message: ModelInferRequest) {
        let left: Option<Duration> =
            self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let requested = Requested {
            shared: Arc::clone(&self.shared),
            call: self.call.clone(),
            forwarded: Arc::clone(&self.forwarded),
            cache: self.cache,
            early: self.early.0.clone(),
            left,
        };
        self.running.push(requested.run(message, &mut self.pass, &mut self.order));
    }

    /// The next answer that may leave.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answered>> {
        loop {
            // What a request has put here comes before its last answer.
            if let Ok(answered) = self.early.1.try_recv() {
                return Poll::Ready(Some(answered));
            }
            if let Some(answered) = self.order.next() {
                return Poll::Ready(Some(answered));
            }
            match Pin::new(&mut self.running).poll_next(cx) {
                Poll::Ready(Some(finished)) => self.order.put(finished),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => match self.early.1.try_recv() {
                    Ok(answered) => return Poll::Ready(Some(answered)),
                    Err(_) => return Poll::Pending,
                },
            }
        }
    }

    fn response(&mut self, answered: Answered) -> Result<ModelStreamInferResponse, Status> {
        match answered.outcome {
            Ok(response) => {
                Ok(ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) })
            }
            Err((fault, response)) => {
                let status = refuse(&self.call, &fault);
                if self.errors_end {
                    self.ended = true;
                    return Err(status);
                }
                Ok(ModelStreamInferResponse {
                    error_message: status.message().to_owned(),
                    infer_response: Some(response),
                })
            }
        }
    }
}

impl Stream for InferStream {
    type Item = Result<ModelStreamInferResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if let Err(status) = this.take_requests(cx) {
            this.ended = true;
            return Poll::Ready(Some(Err(status)));
        }
        match this.next(cx) {
            Poll::Ready(Some(answered)) => Poll::Ready(Some(this.response(answered))),
            Poll::Ready(None) if this.requests.is_none() => Poll::Ready(None),
            // With none in progress it is the client that is waited for, or a request that makes room.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
