use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// A wall clock that jumps, for processes that are started in its environment; the clock that never jumps is the true one. It is
/// libfaketime's.
#[derive(Debug)]
pub struct TestClock {
    library: PathBuf,
    folder: TempDir,
}

impl TestClock {
    /// One that tells the true time.
    ///
    /// # Panics
    /// If libfaketime is not installed: a test that needs it has not run then, and must not look as if it had.
    #[must_use]
    pub fn new() -> Self {
        let libraries = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut libraries = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.find(|path| path.exists()).expect(
            "libfaketime, which this test needs: `apt-get install libfaketime`, or `cargo xtask test`, which installs it",
        );
        let clock = Self { library, folder: tempfile::tempdir().expect("a folder") };
        clock.set("+0");
        clock
    }

    /// Lets it jump: by so much from the true time, as `-2d` or `+5y`; or to a time, as `@2030-06-15 12:00:00`, from which it
    /// goes on.
    ///
    /// # Panics
    /// If there is no folder for files any more.
    pub fn set(&self, time: &str) {
        let folder = self.folder.path();
        fs::write(folder.join("time.new"), time).expect("a file");
        // It appears as a whole.
        fs::rename(folder.join("time.new"), folder.join("time")).expect("a file");
    }

    /// What a process needs in its environment.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.folder.path().join("time").into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// The same for a process that allocates by jemalloc, as Redis does: it asks for the time before the library is ready to tell
    /// it, so that the system's own allocator has to come first.
    pub(crate) fn environment_of_redis(&self) -> Vec<(&'static str, OsString)> {
        let allocator = self.library.with_file_name("../libc_malloc_debug.so.0");
        let mut environment = self.environment();
        if allocator.exists() {
            let libraries = [allocator.as_os_str(), " ".as_ref(), self.library.as_os_str()];
            environment[0].1 = libraries.into_iter().collect();
        }
        environment
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}
