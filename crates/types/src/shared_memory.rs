use std::fmt;

use adulis_tensor::{DataType, Shape};
use bytes::Bytes;

use crate::{BoxFuture, Fault, Name};

/// A region of shared memory as a client registers it, and as its status tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionSpec {
    /// The name by which requests call it.
    pub name: Name,
    /// The key of the shared memory object that it lies in, such as `/my_region`.
    pub key: Name,
    /// Where it begins in the object, in bytes.
    pub offset: u64,
    /// How many bytes it has.
    pub byte_size: u64,
}

/// Where a tensor lies, as a request says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionPlace {
    /// The region's name.
    pub region: Name,
    /// Where the tensor begins in the region, in bytes.
    pub offset: u64,
    /// How many bytes there are for it.
    pub byte_size: u64,
}

/// An input that is in shared memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedInput {
    /// Its index among all inputs of its request.
    pub index: usize,
    /// Its name.
    pub name: Name,
    /// Its datatype.
    pub datatype: DataType,
    /// Its shape.
    pub shape: Shape,
    /// Where its bytes are.
    pub place: RegionPlace,
}

/// The regions of system shared memory that clients have registered.
///
/// Whoever holds a region can change it at any time: what an implementation hands out must not change with it.
pub trait SharedMemory: Send + Sync + 'static {
    /// Opens a shared memory object and knows it by the region's name from now on.
    ///
    /// # Errors
    /// [`crate::ErrorKind::AlreadyExists`] where the name is taken, [`crate::ErrorKind::InvalidArgument`] for a bad name or
    /// key and for an object that is not there or too short, [`crate::ErrorKind::PermissionDenied`] for a key that is not
    /// allowed, and [`crate::ErrorKind::TooLarge`] past a limit.
    fn register(&self, region: RegionSpec) -> Result<(), Fault>;

    /// Forgets a region, if there is one of this name. Requests that use it go on.
    fn unregister(&self, name: &str);

    /// Forgets all regions. Requests that use them go on.
    fn unregister_all(&self);

    /// One region.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] where none has this name.
    fn status(&self, name: &str) -> Result<RegionSpec, Fault>;

    /// All regions, by name.
    fn statuses(&self) -> Vec<RegionSpec>;

    /// Bytes that one request may have read out of regions.
    fn max_request_bytes(&self) -> u64;

    /// The part of a region that a request names.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] for an unknown region, [`crate::ErrorKind::InvalidArgument`] for a place past its end.
    fn open(&self, place: &RegionPlace) -> Result<Box<dyn RegionSlice>, Fault>;
}

/// A part of a region, there to be read and written whether or not the region is unregistered meanwhile.
pub trait RegionSlice: Send + Sync + fmt::Debug {
    /// Where it is.
    fn place(&self) -> &RegionPlace;

    /// Its bytes as they are now: as many as its place has, and no longer the client's to change.
    ///
    /// # Errors
    /// Where the memory is gone.
    fn read(&self) -> BoxFuture<'_, Result<Bytes, Fault>>;

    /// Writes `data` to its beginning; what lies behind is left as it is.
    ///
    /// # Errors
    /// Where `data` is longer than the slice, or the memory is gone. Nothing is written past the slice.
    fn write(&self, data: Bytes) -> BoxFuture<'_, Result<(), Fault>>;
}
