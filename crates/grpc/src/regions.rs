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
use adulis_types::{Asked, Operation};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn status(
    shared: &Shared,
    request: Request<SystemSharedMemoryStatusRequest>,
) -> Result<Response<SystemSharedMemoryStatusResponse>, Status> {
    let call = Call::begin("SystemSharedMemoryStatus", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let entered = shared.enter(request.extensions(), &Asked::new(Operation::SharedMemoryStatus, &id))?;
        Ok(grpc::region_statuses(&region_statuses(entered.services(), &request.get_ref().name)?))
    })
    .await
}

pub(crate) async fn register(
    shared: &Shared,
    request: Request<SystemSharedMemoryRegisterRequest>,
) -> Result<Response<SystemSharedMemoryRegisterResponse>, Status> {
    let call = Call::begin("SystemSharedMemoryRegister", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let entered =
            shared.enter(request.extensions(), &Asked::new(Operation::SharedMemoryRegister, &id))?;
        let region = grpc::decode_region(request.into_inner());
        let name = region.name.clone();
        register_region(entered.services(), region)?;
        entered.done(|| Some(format!("region '{name}'")));
        Ok(SystemSharedMemoryRegisterResponse {})
    })
    .await
}

pub(crate) async fn unregister(
    shared: &Shared,
    request: Request<SystemSharedMemoryUnregisterRequest>,
) -> Result<Response<SystemSharedMemoryUnregisterResponse>, Status> {
    let call = Call::begin("SystemSharedMemoryUnregister", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let entered =
            shared.enter(request.extensions(), &Asked::new(Operation::SharedMemoryUnregister, &id))?;
        let name = &request.get_ref().name;
        unregister_regions(entered.services(), name);
        entered.done(|| Some(format!("region '{name}'")).filter(|_| !name.is_empty()));
        Ok(SystemSharedMemoryUnregisterResponse {})
    })
    .await
}

pub(crate) async fn cuda_status(
    shared: &Shared,
    request: Request<CudaSharedMemoryStatusRequest>,
) -> Result<Response<CudaSharedMemoryStatusResponse>, Status> {
    let call = Call::begin("CudaSharedMemoryStatus", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        shared.enter(request.extensions(), &Asked::new(Operation::SharedMemoryStatus, &id))?;
        no_cuda_regions(&request.get_ref().name)?;
        Ok(CudaSharedMemoryStatusResponse::default())
    })
    .await
}

pub(crate) async fn cuda_register(
    shared: &Shared,
    request: Request<CudaSharedMemoryRegisterRequest>,
) -> Result<Response<CudaSharedMemoryRegisterResponse>, Status> {
    let call = Call::begin("CudaSharedMemoryRegister", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        shared.enter(request.extensions(), &Asked::new(Operation::SharedMemoryRegister, &id))?;
        Err(cuda_region_refused(&request.into_inner().name.into()))
    })
    .await
}

/// There is nothing to forget, which clients ask for before anything else.
pub(crate) async fn cuda_unregister(
    shared: &Shared,
    request: Request<CudaSharedMemoryUnregisterRequest>,
) -> Result<Response<CudaSharedMemoryUnregisterResponse>, Status> {
    let call = Call::begin("CudaSharedMemoryUnregister", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let asked = Asked::new(Operation::SharedMemoryUnregister, &id);
        shared.enter(request.extensions(), &asked)?.done(|| None);
        Ok(CudaSharedMemoryUnregisterResponse {})
    })
    .await
}
