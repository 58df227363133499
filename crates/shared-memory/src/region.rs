use std::os::fd::OwnedFd;

use adulis_tensor::AlignedBuffer;
use adulis_types::{HeldBody, RegionPlace, RegionSpec};
use bytes::Bytes;
use rustix::fs::{self, FileType, Mode};
use rustix::io::{self, Errno};
use rustix::shm;

use crate::{RegionKey, SharedMemoryError};

/// A registered region: its object, open for reading and writing.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) spec: RegionSpec,
    object: OwnedFd,
}

impl Region {
    /// Opens the object of `key` and checks that the region lies in it.
    pub(crate) fn open(spec: RegionSpec, key: &RegionKey) -> Result<Self, SharedMemoryError> {
        let failed =
            |reason| SharedMemoryError::Open { name: spec.name.clone(), key: spec.key.clone(), reason };
        let object = shm::open(format!("/{}", key.object()), open_flags(), Mode::empty()).map_err(failed)?;
        let stat = fs::fstat(&object).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(SharedMemoryError::NotMemory { name: spec.name, key: spec.key });
        }
        let object_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        match spec.offset.checked_add(spec.byte_size) {
            Some(end) if end <= object_bytes => Ok(Self { spec, object }),
            _ => Err(SharedMemoryError::PastObject {
                name: spec.name,
                key: spec.key,
                offset: spec.offset,
                byte_size: spec.byte_size,
                object_bytes,
            }),
        }
    }

    /// Where `place` begins in the object, and how long it is; `None` where it is not in the region.
    pub(crate) fn locate(&self, place: &RegionPlace) -> Option<(u64, usize)> {
        let end = place.offset.checked_add(place.byte_size)?;
        let start = self.spec.offset.checked_add(place.offset)?;
        let length = usize::try_from(place.byte_size).ok()?;
        (end <= self.spec.byte_size).then_some((start, length))
    }

    /// `length` bytes of the object from `start` on, in a buffer that begins on a 64-byte boundary and holds what it counts for.
    /// One copy.
    pub(crate) fn read(
        &self,
        (start, length): (u64, usize),
        held: HeldBody,
    ) -> Result<Bytes, SharedMemoryError> {
        let mut buffer = AlignedBuffer::zeroed(length);
        let (mut rest, mut at) = (&mut buffer[..], start);
        while !rest.is_empty() {
            match io::pread(&self.object, &mut *rest, at) {
                Ok(0) => return Err(SharedMemoryError::Truncated { name: self.spec.name.clone() }),
                Ok(count) => {
                    rest = &mut rest[count..];
                    at += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(reason) => {
                    return Err(SharedMemoryError::Read { name: self.spec.name.clone(), reason });
                }
            }
        }
        Ok(Bytes::from_owner(Copied { buffer, _held: held }))
    }

    /// Writes `data` to the object from `start` on. One copy. An object that was truncated grows again.
    pub(crate) fn write(&self, start: u64, data: &[u8]) -> Result<(), SharedMemoryError> {
        let failed = |reason| SharedMemoryError::Write { name: self.spec.name.clone(), reason };
        let (mut rest, mut at) = (data, start);
        while !rest.is_empty() {
            match io::pwrite(&self.object, rest, at) {
                // No file answers so; another round would be the same.
                Ok(0) => return Err(failed(Errno::IO)),
                Ok(count) => {
                    rest = &rest[count..];
                    at += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(reason) => return Err(failed(reason)),
            }
        }
        Ok(())
    }
}

/// What was read, and what it counts for.
struct Copied {
    buffer: AlignedBuffer,
    _held: HeldBody,
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

/// Follows no link, and waits for nobody at the other end of what turns out to be a pipe.
fn open_flags() -> shm::OFlags {
    let more = fs::OFlags::NOFOLLOW | fs::OFlags::NONBLOCK;
    shm::OFlags::RDWR | shm::OFlags::from_bits_retain(more.bits())
}
