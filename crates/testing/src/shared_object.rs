use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::Mode;
use rustix::shm::{self, OFlags};

/// A POSIX shared memory object of the test's own, as a client would make it. Unlinked when it is dropped.
#[derive(Debug)]
pub struct SharedObject {
    key: String,
    file: File,
}

impl SharedObject {
    /// An object under a new key that holds `data`.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn new(data: &[u8]) -> io::Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = format!("/adulis-test-{}-{number}", std::process::id());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let file = File::from(shm::open(&key, flags, Mode::RUSR | Mode::WUSR)?);
        let object = Self { key, file };
        object.write(0, data)?;
        Ok(object)
    }

    /// Its key, with the leading slash.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What `length` bytes at `offset` are now.
    ///
    /// # Errors
    /// Whatever the system says; the object may be shorter than that.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut data = vec![0; length];
        self.file.read_exact_at(&mut data, offset)?;
        Ok(data)
    }

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    /// Makes it `length` bytes long.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn resize(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}

impl Drop for SharedObject {
    fn drop(&mut self) {
        // A test may have unlinked it already.
        let _ = shm::unlink(&self.key);
    }
}
