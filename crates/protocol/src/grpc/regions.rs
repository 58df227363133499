//! The messages of the shared memory extension.

use adulis_types::RegionSpec;

use crate::grpc::system_shared_memory_status_response::RegionStatus;
use crate::grpc::{SystemSharedMemoryRegisterRequest, SystemSharedMemoryStatusResponse};

/// The region that a message registers.
#[must_use]
pub fn decode_region(message: SystemSharedMemoryRegisterRequest) -> RegionSpec {
    RegionSpec {
        name: message.name.into(),
        key: message.key.into(),
        offset: message.offset,
        byte_size: message.byte_size,
    }
}

/// The answer to `SystemSharedMemoryStatus`.
#[must_use]
pub fn region_statuses(regions: &[RegionSpec]) -> SystemSharedMemoryStatusResponse {
    let named = |region: &RegionSpec| {
        let status = RegionStatus {
            name: region.name.to_string(),
            key: region.key.to_string(),
            offset: region.offset,
            byte_size: region.byte_size,
        };
        (status.name.clone(), status)
    };
    SystemSharedMemoryStatusResponse { regions: regions.iter().map(named).collect() }
}
