use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use adulis_protocol::grpc::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use adulis_types::Fault;
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::boundary::{Call, answer, guarded, refuse};
use crate::frontend::Shared;
use crate::server::corrected_status;
use crate::timeout;

/// Metadata with which a client of Triton asks that an error ends the stream as its status.
const GRPC_ERRORS: &str = "triton_grpc_error";

type Running = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// Opens a stream of inferences.
pub(crate) async fn responses(
    shared: &Arc<Shared>,
    request: Request<Streaming<ModelInferRequest>>,
) -> Result<Response<BoxStream<ModelStreamInferResponse>>, Status> {
    let (metadata, _, requests) = request.into_parts();
    let call = Call::begin("ModelStreamInfer", &metadata);
    answer(call.clone(), async {
        let stream = InferStream::open(Arc::clone(shared), call, &metadata, requests)?;
        Ok(Box::pin(stream) as BoxStream<ModelStreamInferResponse>)
    })
    .await
}

/// One request's outcome, with what an error has to repeat of it.
struct Answered {
    id: String,
    model_name: String,
    model_version: String,
    outcome: Result<ModelInferResponse, Fault>,
}

/// The responses of one `ModelStreamInfer` stream, each as soon as it is ready: not in the order of the requests, which a
/// client tells apart by their ids.
///
/// At most `max_stream_requests` are in progress; while there are so many, nothing is read from the client. An error rides in
/// `error_message` beside an answer that repeats the request's id, and the stream stays open, unless the client set
/// `triton_grpc_error: true`. Dropping the stream cancels all that is in progress.
struct InferStream {
    shared: Arc<Shared>,
    call: Call,
    deadline: Option<Instant>,
    errors_end: bool,
    requests: Option<Streaming<ModelInferRequest>>,
    running: FuturesUnordered<Running>,
    ended: bool,
}

impl InferStream {
    /// # Errors
    /// `InvalidArgument` for a timeout that cannot be read.
    fn open(
        shared: Arc<Shared>,
        call: Call,
        metadata: &MetadataMap,
        requests: Streaming<ModelInferRequest>,
    ) -> Result<Self, Fault> {
        let timeout = timeout::from_metadata(metadata)?;
        let errors_end = metadata.get(GRPC_ERRORS).is_some_and(|value| value == "true");
        Ok(Self {
            shared,
            call,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            errors_end,
            requests: Some(requests),
            running: FuturesUnordered::new(),
            ended: false,
        })
    }

    /// Starts what the client has sent, as far as there is room. `Err` where the client's side broke.
    fn take_requests(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        while self.running.len() < self.shared.options.max_stream_requests.max(1) {
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
        let (shared, call) = (Arc::clone(&self.shared), self.call.clone());
        let left: Option<Duration> =
            self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.running.push(Box::pin(async move {
            let (id, model_name) = (message.id.clone(), message.model_name.clone());
            let model_version = message.model_version.clone();
            let outcome = guarded(&call, shared.infer(message, left, call.id())).await;
            Answered { id, model_name, model_version, outcome }
        }));
    }

    fn response(&mut self, answered: Answered) -> Result<ModelStreamInferResponse, Status> {
        match answered.outcome {
            Ok(response) => {
                Ok(ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) })
            }
            Err(fault) => {
                let status = refuse(&self.call, &fault);
                if self.errors_end {
                    self.ended = true;
                    return Err(status);
                }
                Ok(ModelStreamInferResponse {
                    error_message: status.message().to_owned(),
                    infer_response: Some(ModelInferResponse {
                        id: answered.id,
                        model_name: answered.model_name,
                        model_version: answered.model_version,
                        ..ModelInferResponse::default()
                    }),
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
        match Pin::new(&mut this.running).poll_next(cx) {
            Poll::Ready(Some(answered)) => Poll::Ready(Some(this.response(answered))),
            Poll::Ready(None) if this.requests.is_none() => Poll::Ready(None),
            // With none in progress it is the client that is waited for, or a request that makes room.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
