//! RPCs about the server as a whole.

use adulis_protocol::grpc::{
    self, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse,
    ServerReadyRequest, ServerReadyResponse,
};
use adulis_types::{Asked, Operation};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn live(
    shared: &Shared,
    request: Request<ServerLiveRequest>,
) -> Result<Response<ServerLiveResponse>, Status> {
    let call = Call::begin("ServerLive", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let entered = shared.enter(request.extensions(), &Asked::new(Operation::ServerLive, &id))?;
        Ok(ServerLiveResponse { live: entered.services().inference.live() })
    })
    .await
}

pub(crate) async fn ready(
    shared: &Shared,
    request: Request<ServerReadyRequest>,
) -> Result<Response<ServerReadyResponse>, Status> {
    let call = Call::begin("ServerReady", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let entered = shared.enter(request.extensions(), &Asked::new(Operation::ServerReady, &id))?;
        Ok(ServerReadyResponse { ready: entered.services().inference.ready() })
    })
    .await
}

pub(crate) async fn metadata(
    shared: &Shared,
    request: Request<ServerMetadataRequest>,
) -> Result<Response<ServerMetadataResponse>, Status> {
    let call = Call::begin("ServerMetadata", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let entered = shared.enter(request.extensions(), &Asked::new(Operation::ServerMetadata, &id))?;
        Ok(grpc::server_metadata(&entered.services().server_metadata()))
    })
    .await
}
