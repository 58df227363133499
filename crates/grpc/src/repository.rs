//! RPCs about the model repository.

use std::sync::Arc;

use adulis_protocol::grpc::{
    self, RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest,
    RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse,
};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn index(
    shared: &Shared,
    request: Request<RepositoryIndexRequest>,
) -> Result<Response<RepositoryIndexResponse>, Status> {
    let call = Call::begin("RepositoryIndex", request.metadata());
    answer(call, async {
        let query = grpc::decode_index_query(request.into_inner());
        let service = Arc::clone(&shared.services.inference);
        // Repositories that lie elsewhere are asked over the network.
        let index = tokio::task::spawn_blocking(move || service.repository_index(&query)).await;
        let index = index.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        Ok(grpc::repository_index(&index))
    })
    .await
}

/// Answers when the model is loaded.
pub(crate) async fn load(
    shared: &Shared,
    request: Request<RepositoryModelLoadRequest>,
) -> Result<Response<RepositoryModelLoadResponse>, Status> {
    let call = Call::begin("RepositoryModelLoad", request.metadata());
    answer(call, async {
        let load = grpc::decode_load(request.into_inner())?;
        shared.services.inference.load_model(load).await?;
        Ok(RepositoryModelLoadResponse {})
    })
    .await
}

pub(crate) async fn unload(
    shared: &Shared,
    request: Request<RepositoryModelUnloadRequest>,
) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
    let call = Call::begin("RepositoryModelUnload", request.metadata());
    answer(call, async {
        let unload = grpc::decode_unload(request.into_inner())?;
        shared.services.inference.unload_model(unload).await?;
        Ok(RepositoryModelUnloadResponse {})
    })
    .await
}
