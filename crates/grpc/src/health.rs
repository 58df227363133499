//! RPCs about the server as a whole.

use adulis_protocol::grpc::{
    self, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse,
    ServerReadyRequest, ServerReadyResponse,
};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn live(
    shared: &Shared,
    request: Request<ServerLiveRequest>,
) -> Result<Response<ServerLiveResponse>, Status> {
    let call = Call::begin("ServerLive", request.metadata());
    answer(call, async { Ok(ServerLiveResponse { live: shared.services.inference.live() }) }).await
}

pub(crate) async fn ready(
    shared: &Shared,
    request: Request<ServerReadyRequest>,
) -> Result<Response<ServerReadyResponse>, Status> {
    let call = Call::begin("ServerReady", request.metadata());
    answer(call, async { Ok(ServerReadyResponse { ready: shared.services.inference.ready() }) }).await
}

pub(crate) async fn metadata(
    shared: &Shared,
    request: Request<ServerMetadataRequest>,
) -> Result<Response<ServerMetadataResponse>, Status> {
    let call = Call::begin("ServerMetadata", request.metadata());
    answer(call, async { Ok(grpc::server_metadata(&shared.services.server_metadata())) }).await
}
