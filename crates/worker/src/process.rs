use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::control::{Control, Heard, Message, VERSION};
use crate::death::{Death, Order};
use crate::link::Link;
use crate::options::{WorkerCommand, WorkerOptions};
use crate::sheet::Sheet;

/// Variables of ours that a worker has a use for.
const KEPT_VARIABLES: [&str; 3] = [
    "ADULIS_CACHE_DIR",
    "ADULIS_DATA_DIR",
    "ADULIS_ONNXRUNTIME_LIBRARY",
];
/// What the names of variables begin with that may hold secrets of the server, which native code need not see: ours, and those of
/// object storage.
const SECRET_PREFIXES: [&str; 4] = ["ADULIS_", "AWS_", "AZURE_", "GOOGLE_"];

fn is_kept(variable: &OsStr) -> bool {
    let name = variable.as_encoded_bytes();
    KEPT_VARIABLES.iter().any(|kept| name == kept.as_bytes())
        || !SECRET_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// One worker process, from the server's side.
#[derive(Debug)]
pub(crate) struct Process {
    child: Mutex<Child>,
    pid: u32,
    control: Control,
    /// Nothing is to be expected of it any more.
    gone: AtomicBool,
    /// Why it was killed by us, if it was.
    order: AtomicU8,
    /// Whether it has answered a request.
    answered: AtomicBool,
    connections: AtomicU64,
}

impl Process {
    /// Starts one. To be called on the thread that watches it: the kernel ends the process with the thread.
    pub(crate) fn spawn(command: &WorkerCommand, options: &WorkerOptions) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut program = Command::new(&command.program);
        program.args(&command.arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
        for (name, _) in std::env::vars_os().filter(|(name, _)| !is_kept(name)) {
            program.env_remove(name);
        }
        if options.memory_limit.is_some() {
            // Else the allocator's reserves would be counted as if they were used.
            program.env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
        }
        // What a terminal sends to all in front of it is the server's to act on.
        program.process_group(0);
        let child = program.spawn()?;
        let process = Self {
            pid: child.id(),
            child: Mutex::new(child),
            control: Control::new(ours),
            gone: AtomicBool::new(false),
            order: AtomicU8::new(Order::None as u8),
            answered: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        };
        let memory = options.memory_limit.unwrap_or(0);
        let limits = Message::Limits { memory, oom_score_adj: u64::from(options.oom_score_adj) };
        // Where it is gone already, waiting for it tells.
        let _ = process.control.send(limits, &[]);
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// A worker whose socket has closed is of no use, even before its end is known.
    pub(crate) fn note_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn note_answered(&self) {
        // Read first: all threads that answer would write to the same line of the cache.
        if !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for the worker's first words.
    pub(crate) fn greet(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.control.set_timeout(Some(left.max(std::time::Duration::from_millis(1))))?;
        match self.control.receive()? {
            Heard::Message(Message::Hello { version: VERSION }, _) => Ok(()),
            Heard::Message(..) => Err(io::ErrorKind::InvalidData.into()),
            Heard::Nothing => Err(io::ErrorKind::TimedOut.into()),
            Heard::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// A new connection, and its number. The worker has to be told what it is for.
    pub(crate) fn connect(&self, max_body_bytes: usize) -> io::Result<(u64, Link)> {
        let id = self.connections.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = UnixStream::pair()?;
        let (there, back) = (Sheet::new()?, Sheet::new()?);
        self.control
            .send(Message::Connect { id }, &[theirs.as_fd(), there.as_fd(), back.as_fd()])?;
        Ok((id, Link::new(ours, (there, back), max_body_bytes)))
    }

    /// Asks a run to end soon.
    pub(crate) fn interrupt(&self, id: u64, run: u64) {
        // A worker that has no room for it is stuck, which the watch sees.
        let _ = self.control.send(Message::Interrupt { id, run }, &[]);
    }

    /// Kills it. Does not wait for its end.
    pub(crate) fn kill(&self, order: Order) {
        let none = Order::None as u8;
        let _ = self.order.compare_exchange(none, order as u8, Ordering::AcqRel, Ordering::Acquire);
        self.note_gone();
        // Where the lock is held, its end is being waited for, after it was killed.
        if let Some(mut child) = self.child.try_lock() {
            // It may have ended already.
            let _ = child.kill();
        }
    }

    /// Asks for signs of life until it ends, and kills it where it gives none.
    pub(crate) fn watch(&self, options: &WorkerOptions) -> Death {
        let mut heard = Instant::now();
        let mut number = 0;
        let _ = self.control.set_timeout(Some(options.ping_interval));
        loop {
            let asked = Instant::now();
            number += 1;
            let _ = self.control.send(Message::Ping { number }, &[]);
            loop {
                match self.control.receive() {
                    Ok(Heard::Message(Message::Pong { .. }, _)) => heard = Instant::now(),
                    Ok(Heard::Nothing) => {}
                    Ok(Heard::End) => return self.end(),
                    Ok(Heard::Message(..)) | Err(_) => {
                        self.kill(Order::Violation);
                        return self.end();
                    }
                }
                if asked.elapsed() >= options.ping_interval {
                    break;
                }
            }
            if heard.elapsed() > options.ping_timeout {
                self.kill(Order::Stuck);
                return self.end();
            }
        }
    }

    /// Sees to it that it has ended, and says how.
    pub(crate) fn end(&self) -> Death {
        self.note_gone();
        let mut child = self.child.lock();
        // One that has closed its socket and lives on is of no use. Where it has died by itself already, this changes nothing.
        let status = match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => Self::wait(&mut child),
        };
        Death::new(Order::from_number(self.order.load(Ordering::Acquire)), status.ok())
    }

    /// Gives it a moment to end by itself, so that it is seen how: its socket closes a little before.
    fn wait(child: &mut Child) -> io::Result<std::process::ExitStatus> {
        for _ in 0..100 {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let _ = child.kill();
        child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        if !matches!(child.try_wait(), Ok(Some(_))) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_may_hold_secrets_are_kept_from_workers() {
        for name in ["PATH", "LD_LIBRARY_PATH", "ADULIS_CACHE_DIR", "OMP_NUM_THREADS"] {
            assert!(is_kept(name.as_ref()), "{name}");
        }
        for name in [
            "ADULIS_STORE_URL",
            "ADULIS_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "AZURE_STORAGE_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ] {
            assert!(!is_kept(name.as_ref()), "{name}");
        }
    }
}
