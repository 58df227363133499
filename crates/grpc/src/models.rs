//! RPCs about one model.

use adulis_protocol::grpc::{
    self, ModelConfigRequest, ModelConfigResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse,
};
use adulis_protocol::model_ref;
use adulis_types::{Asked, ErrorKind, Operation};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::error::GrpcError;
use crate::frontend::Shared;

/// One that is not there is not ready, as Triton says it: clients that wait for a model ask before it is loaded.
pub(crate) async fn ready(
    shared: &Shared,
    request: Request<ModelReadyRequest>,
) -> Result<Response<ModelReadyResponse>, Status> {
    let call = Call::begin("ModelReady", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let message = request.get_ref();
        let asked = Asked::new(Operation::ModelReady, &id).of(&message.name);
        let entered = shared.enter(request.extensions(), &asked)?;
        let model = model_ref(message.name.as_str(), Some(&message.version))?;
        match entered.services().inference.model_ready(&model) {
            Ok(ready) => Ok(ModelReadyResponse { ready }),
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(ModelReadyResponse { ready: false }),
            Err(fault) => Err(fault),
        }
    })
    .await
}

pub(crate) async fn metadata(
    shared: &Shared,
    request: Request<ModelMetadataRequest>,
) -> Result<Response<ModelMetadataResponse>, Status> {
    let call = Call::begin("ModelMetadata", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let message = request.get_ref();
        let asked = Asked::new(Operation::ModelMetadata, &id).of(&message.name);
        let entered = shared.enter(request.extensions(), &asked)?;
        let model = model_ref(message.name.as_str(), Some(&message.version))?;
        Ok(grpc::model_metadata(&entered.services().inference.model_metadata(&model)?))
    })
    .await
}

pub(crate) async fn config(
    shared: &Shared,
    request: Request<ModelConfigRequest>,
) -> Result<Response<ModelConfigResponse>, Status> {
    let call = Call::begin("ModelConfig", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let message = request.get_ref();
        let asked = Asked::new(Operation::ModelConfig, &id).of(&message.name);
        let entered = shared.enter(request.extensions(), &asked)?;
        let model = model_ref(message.name.as_str(), Some(&message.version))?;
        let document = entered.services().inference.model_config(&model)?;
        let encoded = grpc::model_config(&document);
        Ok(encoded.map_err(|source| GrpcError::Config { model: model.name, source })?)
    })
    .await
}
