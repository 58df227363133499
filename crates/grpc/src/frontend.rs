use std::sync::Arc;
use std::time::Duration;

use adulis_protocol::grpc::{
    self, GrpcInferenceService, GrpcInferenceServiceServer, ModelInferRequest, ModelInferResponse,
    ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveRequest,
    ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse,
};
use adulis_protocol::model_ref;
use adulis_types::{Fault, InferRequest, InferResponse, InferenceService};
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::boundary::{Call, answer};
use crate::error::GrpcError;
use crate::stream::InferStream;
use crate::timeout;
use crate::{GrpcOptions, InferenceServer};

/// How much longer than the request's timeout the frontend waits: the service knows where the time went, so it has the
/// first word.
const DEADLINE_GRACE: Duration = Duration::from_millis(2);

/// The tonic service over an [`InferenceService`].
pub struct Frontend(Arc<Shared>);

/// What the handlers and streams share.
pub(crate) struct Shared {
    pub(crate) service: Arc<dyn InferenceService>,
    pub(crate) options: GrpcOptions,
}

/// The gRPC service over `service`, to be added to a tonic server or to [`Routes`] of its own.
pub fn service(service: Arc<dyn InferenceService>, options: GrpcOptions) -> InferenceServer {
    let (most_in, most_out) = (options.max_request_bytes, options.max_response_bytes);
    let compress = options.compress_responses;
    // No layer but `InferenceServer` stands around the service: what every call needs is in `boundary`.
    let mut server = GrpcInferenceServiceServer::new(Frontend(Arc::new(Shared { service, options })))
        .max_decoding_message_size(most_in)
        .max_encoding_message_size(most_out);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        server = server.accept_compressed(encoding);
        if compress {
            server = server.send_compressed(encoding);
        }
    }
    InferenceServer(server)
}

/// The same as routes. `into_axum_router` makes them a router for a listener; before that router is merged with another one
/// that has a fallback, as REST's on a shared port, its own is taken off with `reset_fallback`.
pub fn routes(inference: Arc<dyn InferenceService>, options: GrpcOptions) -> Routes {
    Routes::new(service(inference, options))
}

impl Shared {
    /// Answers one inference request, within its time.
    pub(crate) async fn infer(
        &self,
        message: ModelInferRequest,
        timeout: Option<Duration>,
    ) -> Result<ModelInferResponse, Fault> {
        let mut request = grpc::decode_infer(message)?;
        for timeout in [timeout, self.options.request_timeout].into_iter().flatten() {
            request.limit_timeout(timeout);
        }
        Ok(grpc::encode_infer(self.call(request).await?))
    }

    async fn call(&self, request: InferRequest) -> Result<InferResponse, Fault> {
        let Some(timeout) = request.timeout else {
            return self.service.infer(request).await;
        };
        let model = request.model.name.clone();
        let left = timeout.saturating_sub(request.arrived.elapsed()) + DEADLINE_GRACE;
        match tokio::time::timeout(left, self.service.infer(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(GrpcError::Deadline { model, waited: timeout }.into()),
        }
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Frontend {
    async fn server_live(
        &self,
        request: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        let call = Call::begin("ServerLive", request.metadata());
        answer(call, async { Ok(ServerLiveResponse { live: self.0.service.live() }) }).await
    }

    async fn server_ready(
        &self,
        request: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        let call = Call::begin("ServerReady", request.metadata());
        answer(call, async { Ok(ServerReadyResponse { ready: self.0.service.ready() }) }).await
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let call = Call::begin("ModelReady", request.metadata());
        answer(call, async {
            let message = request.get_ref();
            let model = model_ref(message.name.as_str(), Some(&message.version))?;
            Ok(ModelReadyResponse { ready: self.0.service.model_ready(&model)? })
        })
        .await
    }

    async fn server_metadata(
        &self,
        request: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        let call = Call::begin("ServerMetadata", request.metadata());
        answer(call, async { Ok(grpc::server_metadata(&self.0.service.server_metadata())) }).await
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let call = Call::begin("ModelMetadata", request.metadata());
        answer(call, async {
            let message = request.get_ref();
            let model = model_ref(message.name.as_str(), Some(&message.version))?;
            Ok(grpc::model_metadata(&self.0.service.model_metadata(&model)?))
        })
        .await
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin("ModelInfer", &metadata);
        answer(call, async {
            let timeout = timeout::from_metadata(&metadata)?;
            self.0.infer(message, timeout).await
        })
        .await
    }

    type ModelStreamInferStream = InferStream;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<InferStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let call = Call::begin("ModelStreamInfer", &metadata);
        let shared = Arc::clone(&self.0);
        answer(call.clone(), async { InferStream::open(shared, call, &metadata, requests) }).await
    }
}
