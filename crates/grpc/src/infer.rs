//! Unary inference.

use std::future::Future;
use std::time::{Duration, Instant};

use adulis_protocol::grpc::{self, ModelInferRequest, ModelInferResponse};
use adulis_types::{Fault, InferRequest, InferResponse, Name, RequestId};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::error::GrpcError;
use crate::frontend::Shared;
use crate::timeout;

/// How much longer than the request's timeout the frontend waits: the service knows where the time went, so it has the
/// first word.
const DEADLINE_GRACE: Duration = Duration::from_millis(2);

pub(crate) async fn unary(
    shared: &Shared,
    request: Request<ModelInferRequest>,
) -> Result<Response<ModelInferResponse>, Status> {
    let (metadata, _, message) = request.into_parts();
    let call = Call::begin("ModelInfer", &metadata);
    let id = call.id().clone();
    answer(call, async {
        let timeout = timeout::from_metadata(&metadata)?;
        shared.infer(message, timeout, &id).await
    })
    .await
}

impl Shared {
    /// Answers one inference request, within its time.
    pub(crate) async fn infer(
        &self,
        message: ModelInferRequest,
        timeout: Option<Duration>,
        id: &RequestId,
    ) -> Result<ModelInferResponse, Fault> {
        let request = self.decode(message, timeout, id)?;
        Ok(grpc::encode_infer(self.call(request).await?))
    }

    /// The request of a message, with the least of all times that were set.
    pub(crate) fn decode(
        &self,
        message: ModelInferRequest,
        timeout: Option<Duration>,
        id: &RequestId,
    ) -> Result<InferRequest, Fault> {
        let mut request = grpc::decode_infer(message)?;
        request.request_id = id.clone();
        for timeout in [timeout, self.options.request_timeout].into_iter().flatten() {
            request.limit_timeout(timeout);
        }
        Ok(request)
    }

    async fn call(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        let Some(deadline) = Deadline::of(&request) else {
            return adulis_protocol::infer(&self.services, request).await;
        };
        deadline.within(adulis_protocol::infer(&self.services, request)).await?
    }
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
