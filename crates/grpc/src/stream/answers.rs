//! One request of a stream, from its message to its last answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::{self, InferParameter, ModelInferRequest, ModelInferResponse};
use adulis_types::{
    Asked, CacheDirective, Fault, HeldBody, InferRequest, InferResponse, Operation, Parameters, Pass,
    ResponseStream, Services, TraceMoment,
};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::boundary::{Call, guarded};
use crate::frontend::Shared;
use crate::infer::Deadline;
use crate::stream::order::Order;
use crate::traced::trace;

/// Says of each answer of a stream whether it is its request's last.
const FINAL_RESPONSE: &str = "triton_final_response";

/// A request in progress.
pub(super) type Running = Pin<Box<dyn Future<Output = Finished> + Send>>;

/// A request that is done: its place among the ordinary ones, and its last answer, if there is one to send.
pub(super) struct Finished {
    pub(super) place: Option<u64>,
    pub(super) last: Option<Answered>,
}

/// One answer to be sent.
pub(super) struct Answered {
    /// The answer, or an error beside an answer that repeats of the request what tells it from others.
    pub(super) outcome: Result<ModelInferResponse, (Fault, ModelInferResponse)>,
}

/// What a request of a stream is run with.
pub(super) struct Requested {
    pub(super) shared: Arc<Shared>,
    pub(super) call: Call,
    pub(super) forwarded: Arc<Parameters>,
    pub(super) cache: CacheDirective,
    /// Where answers go that are not the last.
    pub(super) early: mpsc::Sender<Answered>,
    /// What is left of the stream's time.
    pub(super) left: Option<Duration>,
}

impl Requested {
    /// Decodes and answers a message.
    pub(super) fn run(
        self,
        message: ModelInferRequest,
        pass: &mut Option<Pass>,
        order: &mut Order,
    ) -> Running {
        let repeated = ModelInferResponse {
            id: message.id.clone(),
            model_name: message.model_name.clone(),
            model_version: message.model_version.clone(),
            ..ModelInferResponse::default()
        };
        let request = self.decode(message, pass);
        let decoupled = match &request {
            Ok((services, request, _)) => services.inference.decoupled(&request.model),
            Err(_) => false,
        };
        let place = (!decoupled).then(|| order.place());
        Box::pin(async move {
            let last = match request {
                Ok((services, request, _held)) => self.answers(&services, request, &repeated).await,
                Err(fault) => Some(Err(fault)),
            };
            Finished { place, last: last.map(|outcome| answered(outcome, repeated, true)) }
        })
    }

    /// The request of a message, the services that are to answer it, and what it holds until then.
    ///
    /// # Errors
    /// What is wrong with it; who sends it may not; there is no room for it.
    fn decode(
        &self,
        message: ModelInferRequest,
        pass: &mut Option<Pass>,
    ) -> Result<(Arc<Services>, InferRequest, HeldBody), Fault> {
        let asked = Asked::new(Operation::Infer, self.call.id()).of(&message.model_name);
        let entered = self.shared.enter_again(pass, &asked)?;
        let held = self.shared.hold(&message)?;
        let mut request = self.shared.decode(message, (self.left, &self.forwarded), self.call.id())?;
        request.cache = request.cache.stricter(self.cache);
        request.identity = entered.identity().cloned();
        request.trace = trace(entered.services(), &request.model.name, None);
        Ok((entered.shared(), request, held))
    }

    /// Sends all answers but the last, and returns that. `None` where the last has been sent as if it were none, and the client
    /// does not want to be told so.
    async fn answers(
        &self,
        services: &Services,
        request: InferRequest,
        repeated: &ModelInferResponse,
    ) -> Option<Result<ModelInferResponse, Fault>> {
        let told_of_end = request.empty_final_response;
        let deadline = Deadline::of(&request);
        let trace = request.trace.clone();
        let mut stream = adulis_protocol::infer_stream(services, request);
        loop {
            match guarded(&self.call, next(&mut stream, deadline.as_ref())).await {
                Ok(Some(response)) => {
                    let response = match &trace {
                        None => grpc::encode_infer(response),
                        Some(trace) => {
                            trace.note(TraceMoment::GrpcSendStart);
                            let response = grpc::encode_infer(response);
                            trace.note(TraceMoment::GrpcSendEnd);
                            response
                        }
                    };
                    if stream.size_hint() == (0, Some(0)) {
                        return Some(Ok(response));
                    }
                    let early = answered(Ok(response), ModelInferResponse::default(), false);
                    // The receiver lives as long as what polls this.
                    let _ = self.early.send(early).await;
                }
                Ok(None) => return told_of_end.then(|| Ok(repeated.clone())),
                Err(fault) => return Some(Err(fault)),
            }
        }
    }
}

/// The next answer, if it comes in time.
async fn next(
    stream: &mut ResponseStream<'_>,
    deadline: Option<&Deadline>,
) -> Result<Option<InferResponse>, Fault> {
    match deadline {
        None => stream.next().await.transpose(),
        Some(deadline) => deadline.within(stream.next()).await?.transpose(),
    }
}

/// An answer, or an error with what it repeats, told to be the last or not.
fn answered(
    outcome: Result<ModelInferResponse, Fault>,
    mut repeated: ModelInferResponse,
    is_last: bool,
) -> Answered {
    let flag = |response: &mut ModelInferResponse| {
        let choice = Some(ParameterChoice::BoolParam(is_last));
        response
            .parameters
            .insert(FINAL_RESPONSE.to_owned(), InferParameter { parameter_choice: choice });
    };
    let outcome = match outcome {
        Ok(mut response) => {
            flag(&mut response);
            Ok(response)
        }
        Err(fault) => {
            flag(&mut repeated);
            Err((fault, repeated))
        }
    };
    Answered { outcome }
}
