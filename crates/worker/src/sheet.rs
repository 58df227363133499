use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// What a file keeps of its memory after its content was read; what is larger is given back.
const KEEP_BYTES: u64 = 64 << 20;

/// A file in memory through which tensors go in one direction. One side writes, tells the other with a frame, and does not
/// write again before that one has answered.
#[derive(Debug)]
pub(crate) struct Sheet(File);

impl Sheet {
    /// An empty one.
    pub(crate) fn new() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{MemfdFlags, memfd_create};
            let file = memfd_create("adulis-worker", MemfdFlags::CLOEXEC)?;
            Ok(Self(File::from(file)))
        }
        #[cfg(not(target_os = "linux"))]
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes `parts`, one after the other, from the beginning.
    pub(crate) fn write<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let mut at = 0;
        for part in parts {
            self.0.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Fills `bytes` from the file's content at `at`. Fails where the other side has written less.
    pub(crate) fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, at)
    }

    /// Bytes that are in it.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// All of it that is needed has been read: gives memory back where it is much.
    pub(crate) fn done(&self, bytes: u64) -> io::Result<()> {
        if bytes > KEEP_BYTES { self.0.set_len(0) } else { Ok(()) }
    }
}

impl From<OwnedFd> for Sheet {
    fn from(file: OwnedFd) -> Self {
        Self(File::from(file))
    }
}

impl AsFd for Sheet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
