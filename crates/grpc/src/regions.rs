//! RPCs about shared memory.

use adulis_protocol::grpc::{
    self, CudaSharedMemoryRegisterRequest, CudaSharedMemoryRegisterResponse, CudaSharedMemoryStatusRequest,
    CudaSharedMemoryStatusResponse, CudaSharedMemoryUnregisterRequest, CudaSharedMemoryUnregisterResponse,
    SystemSharedMemoryRegisterRequest, SystemSharedMemoryRegisterResponse, SystemSharedMemoryStatusRequest,
    SystemSharedMemoryStatusResponse, SystemSharedMemoryUnregisterRequest,
    SystemSharedMemoryUnregisterResponse,
};
use adulis_protocol::{
    cuda_region_refused, no_cuda_regions, region_statuses, register_region, unregister_regions,
};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn status(
    shared: &Shared,
    request: Request<SystemSharedMemoryStatusRequest>,
) -> Result<Response<SystemSharedMemoryStatusResponse>, Status> {
    let call = Call::begin("SystemSharedMemoryStatus", request.metadata());
    answer(call, async {
        Ok(grpc::region_statuses(&region_statuses(&shared.services, &request.get_ref().name)?))
    })
    .await
}

pub(crate) async fn register(
    shared: &Shared,
    request: Request<SystemSharedMemoryRegisterRequest>,
) -> Result<Response<SystemSharedMemoryRegisterResponse>, Status> {
    let call = Call::begin("SystemSharedMemoryRegister", request.metadata());
    answer(call, async {
        register_region(&shared.services, grpc::decode_region(request.into_inner()))?;
        Ok(SystemSharedMemoryRegisterResponse {})
    })
    .await
}

pub(crate) async fn unregister(
    shared: &Shared,
    request: Request<SystemSharedMemoryUnregisterRequest>,
) -> Result<Response<SystemSharedMemoryUnregisterResponse>, Status> {
    let call = Call::begin("SystemSharedMemoryUnregister", request.metadata());
    answer(call, async {
        unregister_regions(&shared.services, &request.get_ref().name);
        Ok(SystemSharedMemoryUnregisterResponse {})
    })
    .await
}

pub(crate) async fn cuda_status(
    request: Request<CudaSharedMemoryStatusRequest>,
) -> Result<Response<CudaSharedMemoryStatusResponse>, Status> {
    let call = Call::begin("CudaSharedMemoryStatus", request.metadata());
    answer(call, async {
        no_cuda_regions(&request.get_ref().name)?;
        Ok(CudaSharedMemoryStatusResponse::default())
    })
    .await
}

pub(crate) async fn cuda_register(
    request: Request<CudaSharedMemoryRegisterRequest>,
) -> Result<Response<CudaSharedMemoryRegisterResponse>, Status> {
    let call = Call::begin("CudaSharedMemoryRegister", request.metadata());
    answer(call, async { Err(cuda_region_refused(&request.into_inner().name.into())) }).await
}

/// There is nothing to forget, which clients ask for before anything else.
pub(crate) async fn cuda_unregister(
    request: Request<CudaSharedMemoryUnregisterRequest>,
) -> Result<Response<CudaSharedMemoryUnregisterResponse>, Status> {
    let call = Call::begin("CudaSharedMemoryUnregister", request.metadata());
    answer(call, async { Ok(CudaSharedMemoryUnregisterResponse {}) }).await
}
