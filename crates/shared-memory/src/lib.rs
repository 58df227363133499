//! Shared memory regions that clients on the same machine register, and the tensors that lie in them:
//! [`SystemSharedMemory`], over POSIX shared memory objects.
//!
//! Regions are **not mapped**. The clients who hold them can change and truncate them at any moment, so a mapping would
//! mean: `&[u8]`s that change (undefined behaviour), tensors that change between a check and its use (an engine that
//! has checked the indices of a gather would read wherever the client points next), and SIGBUS for the whole server when
//! a region is truncated or its file system is full. Data is read and written through the object's descriptor instead:
//! one copy, into an aligned buffer on which the engine runs in place, and an error where a mapping has a crash. There
//! is no unsafe code here. `docs/protocol.md` has the measurements.
//!
//! Invariants:
//! - What was read never changes afterwards; what is checked later is what the engine gets.
//! - A slice keeps its object open: whoever unregisters a region takes it from no request in progress.
//! - Names, keys, the number of regions, their bytes, and the bytes that one request reads are bounded by
//!   [`SharedMemoryOptions`] or by a constant. A key names an object of the shared memory file system and no other file.
//! - What is not registered is neither read nor written.

mod aside;
mod error;
mod key;
mod options;
mod region;
mod registry;
mod slice;

pub use error::SharedMemoryError;
pub use key::{KeyFault, MAX_NAME_BYTES, RegionKey};
pub use options::SharedMemoryOptions;
pub use registry::{SystemSharedMemory, Usage};
