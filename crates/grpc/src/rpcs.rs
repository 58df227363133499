//! The RPCs, each a line: where it is answered.

use adulis_protocol::grpc::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryRegisterResponse, CudaSharedMemoryStatusRequest,
    CudaSharedMemoryStatusResponse, CudaSharedMemoryUnregisterRequest, CudaSharedMemoryUnregisterResponse,
    GrpcInferenceService, LogSettingsRequest, LogSettingsResponse, ModelConfigRequest, ModelConfigResponse,
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse, ModelStreamInferResponse,
    RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest, RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    SystemSharedMemoryRegisterRequest, SystemSharedMemoryRegisterResponse, SystemSharedMemoryStatusRequest,
    SystemSharedMemoryStatusResponse, SystemSharedMemoryUnregisterRequest,
    SystemSharedMemoryUnregisterResponse, TraceSettingRequest, TraceSettingResponse,
};
use adulis_types::Operation;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{Frontend, health, infer, models, regions, repository, settings, statistics, stream};

/// What each RPC does. Of those that both ask and change it is not known before their message is read: whoever may not even ask
/// has tried to change, as far as anybody can tell, and is noted.
pub(crate) fn operation(rpc: &str) -> Option<Operation> {
    Some(match rpc {
        "ServerLive" => Operation::ServerLive,
        "ServerReady" => Operation::ServerReady,
        "ModelReady" => Operation::ModelReady,
        "ServerMetadata" => Operation::ServerMetadata,
        "ModelMetadata" => Operation::ModelMetadata,
        "ModelInfer" | "ModelStreamInfer" => Operation::Infer,
        "ModelConfig" => Operation::ModelConfig,
        "ModelStatistics" => Operation::Statistics,
        "RepositoryIndex" => Operation::ModelIndex,
        "RepositoryModelLoad" => Operation::ModelLoad,
        "RepositoryModelUnload" => Operation::ModelUnload,
        "SystemSharedMemoryStatus" | "CudaSharedMemoryStatus" => Operation::SharedMemoryStatus,
        "SystemSharedMemoryRegister" | "CudaSharedMemoryRegister" => Operation::SharedMemoryRegister,
        "SystemSharedMemoryUnregister" | "CudaSharedMemoryUnregister" => Operation::SharedMemoryUnregister,
        "TraceSetting" => Operation::TraceUpdate,
        "LogSettings" => Operation::LogUpdate,
        _ => return None,
    })
}

type Answer<T> = Result<Response<T>, Status>;
type InferResponses = BoxStream<ModelStreamInferResponse>;

#[tonic::async_trait]
impl GrpcInferenceService for Frontend {
    async fn server_live(&self, request: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        health::live(&self.0, request).await
    }

    async fn server_ready(&self, request: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        health::ready(&self.0, request).await
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        models::ready(&self.0, request).await
    }

    async fn server_metadata(
        &self,
        request: Request<ServerMetadataRequest>,
    ) -> Answer<ServerMetadataResponse> {
        health::metadata(&self.0, request).await
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        models::metadata(&self.0, request).await
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        infer::unary(&self.0, request).await
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<InferResponses> {
        stream::responses(&self.0, request).await
    }

    async fn model_config(&self, request: Request<ModelConfigRequest>) -> Answer<ModelConfigResponse> {
        models::config(&self.0, request).await
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Answer<ModelStatisticsResponse> {
        statistics::statistics(&self.0, request).await
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Answer<RepositoryIndexResponse> {
        repository::index(&self.0, request).await
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        repository::load(&self.0, request).await
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        repository::unload(&self.0, request).await
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<SystemSharedMemoryStatusRequest>,
    ) -> Answer<SystemSharedMemoryStatusResponse> {
        regions::status(&self.0, request).await
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Answer<SystemSharedMemoryRegisterResponse> {
        regions::register(&self.0, request).await
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<SystemSharedMemoryUnregisterResponse> {
        regions::unregister(&self.0, request).await
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<CudaSharedMemoryStatusRequest>,
    ) -> Answer<CudaSharedMemoryStatusResponse> {
        regions::cuda_status(&self.0, request).await
    }

    async fn cuda_shared_memory_register(
        &self,
        request: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Answer<CudaSharedMemoryRegisterResponse> {
        regions::cuda_register(&self.0, request).await
    }

    async fn cuda_shared_memory_unregister(
        &self,
        request: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<CudaSharedMemoryUnregisterResponse> {
        regions::cuda_unregister(&self.0, request).await
    }

    async fn trace_setting(&self, request: Request<TraceSettingRequest>) -> Answer<TraceSettingResponse> {
        settings::trace(&self.0, request).await
    }

    async fn log_settings(&self, request: Request<LogSettingsRequest>) -> Answer<LogSettingsResponse> {
        settings::log(&self.0, request).await
    }
}
