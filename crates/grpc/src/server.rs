use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use adulis_protocol::Pace;
use adulis_protocol::grpc::GrpcInferenceServiceServer;
use adulis_types::{BodyBudget, Guarded, TraceControl};
use futures_util::FutureExt;
use futures_util::future::Map;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::{Code, Status};

use crate::Frontend;
use crate::admit::{Admitted, Answer, admit};
use crate::paced::Paced;
use crate::rpcs::operation;
use crate::traced::{Arrived, noted};
use crate::trailers::trailed;

/// The tonic service behind the check of who calls it, with the statuses set right that tonic gives to messages it cannot take.
///
/// A message over the limit is `OUT_OF_RANGE` to tonic, and one that is no Protocol Buffers `INTERNAL`. They are the client's
/// fault and not the server's: `RESOURCE_EXHAUSTED`, as gRPC's other libraries say it, and `INVALID_ARGUMENT`.
#[derive(Clone)]
pub struct InferenceServer {
    pub(crate) server: GrpcInferenceServiceServer<Frontend>,
    pub(crate) guarded: Arc<Guarded>,
    pub(crate) tracing: Option<Arc<dyn TraceControl>>,
    pub(crate) pace: Pace,
    pub(crate) bodies: BodyBudget,
}

/// The one call whose client sends any number of messages.
const STREAM: &str = "/ModelStreamInfer";

/// How tonic's message about a message that it could not decode begins, as the header holds it.
const UNDECODED: &[u8] = b"failed%20to%20decode%20Protobuf";
const UNDECODED_TEXT: &str = "failed to decode Protobuf";

impl Service<http::Request<Body>> for InferenceServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    // Not boxed once more: the answer is looked at on its way.
    type Future = Map<Admitted<BoxFuture<Self::Response, Infallible>>, fn(Answer) -> Answer>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Paced>>::poll_ready(&mut self.server, context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if self.tracing.as_ref().is_some_and(|tracing| tracing.is_tracing()) {
            request.extensions_mut().insert(Arrived(Instant::now()));
        }
        let is_stream = request.uri().path().ends_with(STREAM);
        let paced = if is_stream { Paced::stream } else { Paced::message };
        let request = request.map(|body| paced(body, self.pace, self.bodies.clone()));
        admit(&mut self.server, &self.guarded, (operation, request)).map(corrected as fn(Answer) -> Answer)
    }
}

impl NamedService for InferenceServer {
    const NAME: &'static str = <GrpcInferenceServiceServer<Frontend> as NamedService>::NAME;
}

/// Only a refusal has its status in the head; after an answer it comes in the trailers.
fn corrected(answer: Answer) -> Answer {
    let Ok(mut response) = answer;
    let headers = response.headers_mut();
    let Some(status) = headers.get(Status::GRPC_STATUS) else {
        return Ok(noted(trailed(response)));
    };
    let message = headers.get(Status::GRPC_MESSAGE);
    let undecoded = message.is_some_and(|message| message.as_bytes().starts_with(UNDECODED));
    let code = blame(Code::from_bytes(status.as_bytes()), undecoded);
    headers.insert(Status::GRPC_STATUS, (code as i32).into());
    Ok(response)
}

/// The same for a message that came on a stream.
pub(crate) fn corrected_status(status: &Status) -> Status {
    let undecoded = status.message().starts_with(UNDECODED_TEXT);
    Status::with_metadata(blame(status.code(), undecoded), status.message(), status.metadata().clone())
}

fn blame(code: Code, undecoded: bool) -> Code {
    match code {
        // No kind of error of ours has this code.
        Code::OutOfRange => Code::ResourceExhausted,
        Code::Internal if undecoded => Code::InvalidArgument,
        code => code,
    }
}
