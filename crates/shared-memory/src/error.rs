use std::borrow::Cow;

use adulis_types::{ErrorKind, Name, RegionPlace, ServiceError};
use rustix::io::Errno;

use crate::{KeyFault, MAX_NAME_BYTES};

/// Why a region cannot be registered, found, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedMemoryError {
    /// The name is not one.
    #[error("the name of a shared memory region must have 1 to {MAX_NAME_BYTES} bytes, got {bytes}")]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// The key is not one.
    #[error("shared memory region '{name}': bad key: {fault}")]
    Key {
        /// The region.
        name: Name,
        /// What is wrong with its key.
        fault: KeyFault,
    },
    /// The key is none of those that are allowed.
    #[error(
        "shared memory region '{name}': this server takes keys that begin with '{prefix}' only, got '{key}'"
    )]
    KeyPrefix {
        /// The region.
        name: Name,
        /// Its key.
        key: Name,
        /// How keys must begin.
        prefix: Name,
    },
    /// A region has at least one byte.
    #[error("shared memory region '{name}': byte_size must be 1 or more")]
    Empty {
        /// The region.
        name: Name,
    },
    /// The name is taken.
    #[error("shared memory region '{name}' already in manager")]
    AlreadyRegistered {
        /// The region.
        name: Name,
    },
    /// There are as many regions as may be.
    #[error(
        "shared memory region '{name}': {limit} regions are registered, and no more are taken: unregister some"
    )]
    TooManyRegions {
        /// The region.
        name: Name,
        /// How many may be.
        limit: usize,
    },
    /// All regions together would be too large.
    #[error(
        "shared memory region '{name}': {byte_size} bytes are over the limit of {limit} for all regions, of which {used} \
         are in use"
    )]
    TooManyBytes {
        /// The region.
        name: Name,
        /// Its size.
        byte_size: u64,
        /// Bytes of the others.
        used: u64,
        /// Bytes that all may have.
        limit: u64,
    },
    /// The object could not be opened.
    #[error("shared memory region '{name}': cannot open key '{key}' for reading and writing: {reason}")]
    Open {
        /// The region.
        name: Name,
        /// The key.
        key: Name,
        /// The system's reason.
        reason: Errno,
    },
    /// The key names something else than memory.
    #[error("shared memory region '{name}': key '{key}' is not shared memory")]
    NotMemory {
        /// The region.
        name: Name,
        /// The key.
        key: Name,
    },
    /// The region would reach past the end of the object.
    #[error(
        "shared memory region '{name}': offset {offset} and byte_size {byte_size} reach past the end of key '{key}', which \
         has {object_bytes} bytes"
    )]
    PastObject {
        /// The region.
        name: Name,
        /// The key.
        key: Name,
        /// Where the region would begin.
        offset: u64,
        /// How long it would be.
        byte_size: u64,
        /// How long the object is.
        object_bytes: u64,
    },
    /// No region has this name.
    #[error("unable to find shared memory region: '{name}'")]
    Unknown {
        /// The name.
        name: Name,
    },
    /// A tensor reaches past the end of its region.
    #[error(
        "invalid offset + byte size for shared memory region: '{}': offset {} and byte size {} reach past its end at \
         {region_bytes}", .place.region, .place.offset, .place.byte_size
    )]
    PastRegion {
        /// Where the tensor would be.
        place: RegionPlace,
        /// How long the region is.
        region_bytes: u64,
    },
    /// The object is shorter than it was when it was registered.
    #[error("shared memory region '{name}' was truncated after it was registered")]
    Truncated {
        /// The region.
        name: Name,
    },
    /// Data could not be read.
    #[error("shared memory region '{name}' cannot be read: {reason}")]
    Read {
        /// The region.
        name: Name,
        /// The system's reason.
        reason: Errno,
    },
    /// Data could not be written.
    #[error("shared memory region '{name}' cannot be written: {reason}")]
    Write {
        /// The region.
        name: Name,
        /// The system's reason.
        reason: Errno,
    },
}

impl ServiceError for SharedMemoryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::KeyPrefix { .. } => ErrorKind::PermissionDenied,
            Self::AlreadyRegistered { .. } => ErrorKind::AlreadyExists,
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::TooManyRegions { .. } | Self::TooManyBytes { .. } => ErrorKind::TooLarge,
            Self::Read { .. } | Self::Write { .. } => ErrorKind::Internal,
            Self::Name { .. }
            | Self::Key { .. }
            | Self::Empty { .. }
            | Self::Open { .. }
            | Self::NotMemory { .. }
            | Self::PastObject { .. }
            | Self::PastRegion { .. }
            | Self::Truncated { .. } => ErrorKind::InvalidArgument,
        }
    }

    /// The region is the client's own, so that it is told what the system says of it.
    fn client_message(&self) -> Cow<'static, str> {
        self.to_string().into()
    }
}
