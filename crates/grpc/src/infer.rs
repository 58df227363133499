//! Unary inference.

use std::future::Future;
use std::time::{Duration, Instant};

use adulis_protocol::grpc::{self, ModelInferRequest, ModelInferResponse};
use adulis_types::{
    Asked, CacheDirective, Fault, HeldBody, InferRequest, InferResponse, Name, Operation, Parameters,
    RequestId, Services, TraceMoment,
};
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer, write_quota};
use crate::error::GrpcError;
use crate::frontend::Shared;
use crate::timeout;
use crate::traced::{self, Arrived};

/// How much longer than the request's timeout the frontend waits: the service knows where the time went, so it has the
/// first word.
const DEADLINE_GRACE: Duration = Duration::from_millis(2);

/// As HTTP has it.
const CACHE_CONTROL: &str = "cache-control";

pub(crate) async fn unary(
    shared: &Shared,
    request: Request<ModelInferRequest>,
) -> Result<Response<ModelInferResponse>, Status> {
    let (metadata, extensions, message) = request.into_parts();
    let call = Call::begin("ModelInfer", &metadata);
    let id = call.id().clone();
    let (mut trace, mut cache, mut quota) = (None, None, None);
    let answered = answer(call, async {
        let asked = Asked::new(Operation::Infer, &id).of(&message.model_name);
        let entered = shared.enter(&extensions, &asked)?;
        let _held = shared.hold(&message)?;
        let services = entered.services();
        let timeout = timeout::from_metadata(&metadata)?;
        let forwarded = shared.forwarded(&metadata);
        let mut request = shared.decode(message, (timeout, &forwarded), &id)?;
        request.cache = request.cache.stricter(cache_directive(&metadata));
        let arrived = extensions.get::<Arrived>().map(|arrived| arrived.0);
        request.identity = entered.identity().cloned();
        request.trace = traced::trace(services, &request.model.name, arrived);
        trace.clone_from(&request.trace);
        let mut response = ask(services, request).await?;
        cache = response.cache;
        quota = response.quota.take();
        if let Some(trace) = &trace {
            trace.note(TraceMoment::GrpcSendStart);
        }
        Ok(grpc::encode_infer(response))
    })
    .await;
    let mut response = answered?;
    if let Some(trace) = trace {
        response.extensions_mut().insert(trace);
    }
    if let Some(cache) = cache {
        response.extensions_mut().insert(cache);
    }
    if let Some(report) = quota {
        write_quota(&report, response.metadata_mut());
    }
    Ok(response)
}

/// Whether the client of a call wants answers that are remembered.
pub(crate) fn cache_directive(metadata: &MetadataMap) -> CacheDirective {
    let asked = metadata.get_all(CACHE_CONTROL).iter().map(|value| value.as_encoded_bytes());
    asked.map(CacheDirective::of_header).fold(CacheDirective::Use, CacheDirective::stricter)
}

impl Shared {
    /// Metadata of a call that are parameters of its requests.
    pub(crate) fn forwarded(&self, metadata: &MetadataMap) -> Parameters {
        let Some(pattern) = &self.options.forward_metadata else {
            return Parameters::default();
        };
        pattern.parameters(metadata.iter().filter_map(|pair| match pair {
            KeyAndValueRef::Ascii(name, value) => Some((name.as_str(), value.as_encoded_bytes())),
            KeyAndValueRef::Binary(..) => None,
        }))
    }

    /// Counts in what a message holds, until it is answered.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn hold(&self, message: &ModelInferRequest) -> Result<HeldBody, Fault> {
        let mut held = HeldBody::default();
        self.options.bodies.take(&mut held, grpc::request_bytes(message))?;
        Ok(held)
    }

    /// The request of a message, with the parameters and the time that its call brings.
    pub(crate) fn decode(
        &self,
        message: ModelInferRequest,
        (timeout, forwarded): (Option<Duration>, &Parameters),
        id: &RequestId,
    ) -> Result<InferRequest, Fault> {
        let mut request = grpc::decode_infer(message)?;
        for (name, value) in forwarded.iter() {
            request.parameters.set(name, value.clone());
        }
        request.request_id = id.clone();
        for timeout in [timeout, self.options.request_timeout].into_iter().flatten() {
            request.limit_timeout(timeout);
        }
        Ok(request)
    }
}

/// Has the service answer, within its time.
async fn ask(services: &Services, request: InferRequest) -> Result<InferResponse, Fault> {
    let Some(deadline) = Deadline::of(&request) else {
        return adulis_protocol::infer(services, request).await;
    };
    deadline.within(adulis_protocol::infer(services, request)).await?
}

/// Until when a request is waited for, whoever answers it.
pub(crate) struct Deadline {
    model: Name,
    timeout: Duration,
    arrived: Instant,
}

impl Deadline {
    /// `None` for a request that may take any time.
    pub(crate) fn of(request: &InferRequest) -> Option<Self> {
        let model = || request.model.name.clone();
        request.timeout.map(|timeout| Self { model: model(), timeout, arrived: request.arrived })
    }

    /// Waits for `work` as long as there is time left.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Fault> {
        let left = self.timeout.saturating_sub(self.arrived.elapsed()) + DEADLINE_GRACE;
        tokio::time::timeout(left, work)
            .await
            .map_err(|_| GrpcError::Deadline { model: self.model.clone(), waited: self.timeout }.into())
    }
}
