//! RPCs about one model.

use adulis_protocol::grpc::{
    self, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse,
};
use adulis_protocol::model_ref;
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn ready(
    shared: &Shared,
    request: Request<ModelReadyRequest>,
) -> Result<Response<ModelReadyResponse>, Status> {
    let call = Call::begin("ModelReady", request.metadata());
    answer(call, async {
        let message = request.get_ref();
        let model = model_ref(message.name.as_str(), Some(&message.version))?;
        Ok(ModelReadyResponse { ready: shared.services.inference.model_ready(&model)? })
    })
    .await
}

pub(crate) async fn metadata(
    shared: &Shared,
    request: Request<ModelMetadataRequest>,
) -> Result<Response<ModelMetadataResponse>, Status> {
    let call = Call::begin("ModelMetadata", request.metadata());
    answer(call, async {
        let message = request.get_ref();
        let model = model_ref(message.name.as_str(), Some(&message.version))?;
        Ok(grpc::model_metadata(&shared.services.inference.model_metadata(&model)?))
    })
    .await
}
