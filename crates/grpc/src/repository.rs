//! RPCs about the model repository.

use std::sync::Arc;

use adulis_protocol::grpc::{
    self, RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest,
    RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse,
};
use adulis_types::{Asked, Operation};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn index(
    shared: &Shared,
    request: Request<RepositoryIndexRequest>,
) -> Result<Response<RepositoryIndexResponse>, Status> {
    let call = Call::begin("RepositoryIndex", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let entered = shared.enter(request.extensions(), &Asked::new(Operation::ModelIndex, &id))?;
        let query = grpc::decode_index_query(request.into_inner());
        let service = Arc::clone(&entered.services().inference);
        // Repositories that lie elsewhere are asked over the network.
        let index = tokio::task::spawn_blocking(move || service.repository_index(&query)).await;
        let mut index = index.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        index.retain(|entry| entered.shows(&entry.name));
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
    let id = call.id().clone();
    answer(call, async {
        let (_, extensions, message) = request.into_parts();
        let name = message.model_name.clone();
        let entered = shared.enter(&extensions, &Asked::new(Operation::ModelLoad, &id).of(&name))?;
        entered.load_model(grpc::decode_load(message)?).await?;
        Ok(RepositoryModelLoadResponse {})
    })
    .await
}

pub(crate) async fn unload(
    shared: &Shared,
    request: Request<RepositoryModelUnloadRequest>,
) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
    let call = Call::begin("RepositoryModelUnload", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let (_, extensions, message) = request.into_parts();
        let name = message.model_name.clone();
        let entered = shared.enter(&extensions, &Asked::new(Operation::ModelUnload, &id).of(&name))?;
        let unload = grpc::decode_unload(message)?;
        let with_dependents = unload.unload_dependents;
        if with_dependents {
            // Which models those are is not for the request to say.
            entered.all_models()?;
        }
        entered.services().inference.unload_model(unload).await?;
        entered.done(|| with_dependents.then(|| "with its dependents".to_owned()));
        Ok(RepositoryModelUnloadResponse {})
    })
    .await
}
