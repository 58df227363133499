//! What the shared memory extensions answer, whichever protocol asks.
//!
//! Where shared memory is off there are no regions: their list is empty and unregistering them succeeds, as clients do it
//! before anything else. The same holds for CUDA's, which this server never has.

use adulis_types::{ErrorKind, Failure, Fault, Name, RegionSpec, Services};

use crate::TensorProblem;

/// Registers a region of system shared memory.
///
/// # Errors
/// The registry's, and [`ErrorKind::Unsupported`] where shared memory is off.
pub fn register_region(services: &Services, region: RegionSpec) -> Result<(), Fault> {
    match &services.shared_memory {
        Some(memory) => memory.register(region),
        None => {
            let message = format!("shared memory region '{}': {}", region.name, TensorProblem::SharedMemory);
            Err(Failure::new(ErrorKind::Unsupported, message).into())
        }
    }
}

/// Forgets a region of system shared memory, if there is one of this name; with an empty name all.
pub fn unregister_regions(services: &Services, name: &str) {
    match &services.shared_memory {
        Some(memory) if name.is_empty() => memory.unregister_all(),
        Some(memory) => memory.unregister(name),
        None => {}
    }
}

/// A region of system shared memory; with an empty name all, by name.
///
/// # Errors
/// [`ErrorKind::NotFound`] where none has this name.
pub fn region_statuses(services: &Services, name: &str) -> Result<Vec<RegionSpec>, Fault> {
    match &services.shared_memory {
        Some(memory) if name.is_empty() => Ok(memory.statuses()),
        Some(memory) => Ok(vec![memory.status(name)?]),
        None if name.is_empty() => Ok(Vec::new()),
        None => Err(unknown("system", name)),
    }
}

/// That no region of CUDA memory has this name; with an empty name, that asking for all is answered with none.
///
/// # Errors
/// [`ErrorKind::NotFound`] for any name.
pub fn no_cuda_regions(name: &str) -> Result<(), Fault> {
    if name.is_empty() { Ok(()) } else { Err(unknown("cuda", name)) }
}

/// That no region of CUDA memory can be registered.
#[must_use]
pub fn cuda_region_refused(name: &Name) -> Fault {
    let message = format!(
        "cuda shared memory region '{name}': this server opens no memory of a GPU: register system shared memory, or send \
         the data in the request"
    );
    Failure::new(ErrorKind::Unsupported, message).into()
}

fn unknown(kind: &str, name: &str) -> Fault {
    Failure::new(ErrorKind::NotFound, format!("unable to find {kind} shared memory region: '{name}'")).into()
}
