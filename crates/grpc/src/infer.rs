//! Unary inference.

use std::time::Duration;

use adulis_protocol::grpc::{self, ModelInferRequest, ModelInferResponse};
use adulis_types::{Fault, InferRequest, InferResponse, RequestId};
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
        let mut request = grpc::decode_infer(message)?;
        request.request_id = id.clone();
        for timeout in [timeout, self.options.request_timeout].into_iter().flatten() {
            request.limit_timeout(timeout);
        }
        Ok(grpc::encode_infer(self.call(request).await?))
    }

    async fn call(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        let Some(timeout) = request.timeout else {
            return adulis_protocol::infer(&self.services, request).await;
        };
        let model = request.model.name.clone();
        let left = timeout.saturating_sub(request.arrived.elapsed()) + DEADLINE_GRACE;
        match tokio::time::timeout(left, adulis_protocol::infer(&self.services, request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(GrpcError::Deadline { model, waited: timeout }.into()),
        }
    }
}
