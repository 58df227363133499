//! Servers under measurement: started on free ports, waited for, stopped whatever happens.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::probe;
use crate::process;

/// Between two looks at whether a server is ready: far below what its start takes.
const LOOK: Duration = Duration::from_millis(1);

/// How long a server has to be ready before it has failed.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// How long a server has to end after it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A server's process. Dropping it stops it.
pub(super) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    started: Instant,
}

/// What tells that a server can be measured.
#[derive(Clone, Copy)]
pub(super) enum Ready {
    /// A GET of this path is answered with 200.
    Answers(&'static str),
    /// Connections are accepted.
    Listens,
}

impl Server {
    /// Starts a program whose output goes to `NAME.log` in `logs`.
    ///
    /// # Errors
    /// It can't be started, or the log can't be written.
    pub(super) fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Self> {
        fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log, started })
    }

    /// Waits until it is ready, and says how long that took from its start.
    ///
    /// # Errors
    /// It ended, or isn't ready after two minutes; the message has the end of its log.
    pub(super) fn wait(&mut self, address: SocketAddr, ready: Ready) -> Result<Duration> {
        loop {
            let is_ready = match ready {
                Ready::Answers(path) => probe::get(address, path).is_ok_and(|(status, _)| status == 200),
                Ready::Listens => TcpStream::connect(address).is_ok(),
            };
            let waited = self.started.elapsed();
            if is_ready {
                return Ok(waited);
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || waited > READY_LIMIT {
                let how =
                    ended.map_or_else(|| "is not ready".to_owned(), |status| format!("ended with {status}"));
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{} {how} after {waited:.1?}\n{}", self.name, process::last_lines(&log));
            }
            thread::sleep(LOOK);
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Server {
    /// Asks it to end, so that it can end its own workers, and kills it if it doesn't.
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        if process::succeeds(Command::new("kill").arg(self.pid().to_string())) {
            let asked = Instant::now();
            while asked.elapsed() < STOP_LIMIT {
                if self.has_ended() {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        eprintln!("{} did not end when asked to, and is killed", self.name);
        // It may have ended in this moment.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that are tried. They lie below those that the system gives to clients: a client that knocks again and again at a
/// port of that range, where nobody listens yet, may at last be given the same port and talk to itself.
const PORTS: Range<u16> = 20_000..30_000;

/// An address on this machine that nobody listens at, another one at each call.
///
/// # Errors
/// All ports are taken.
pub(super) fn free_address() -> Result<SocketAddr> {
    const COUNT: u16 = PORTS.end - PORTS.start;
    static TRIED: AtomicU16 = AtomicU16::new(0);
    // Two of these programs side by side begin at different places.
    let first = u16::try_from(std::process::id() % 100)? * 100;
    for _ in PORTS {
        let offset = (first + TRIED.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, PORTS.start + offset)) {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no port from {} to {} is free", PORTS.start, PORTS.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_says_why() {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let mut server =
            Server::start("broken", command.args(["-c", "echo no models >&2; exit 2"]), logs.path()).unwrap();
        let error = server.wait(free_address().unwrap(), Ready::Listens).unwrap_err().to_string();
        assert!(error.contains("broken ended with exit status: 2"), "{error}");
        assert!(error.contains("no models"), "{error}");
    }

    #[test]
    fn dropping_a_server_ends_it() {
        let logs = tempfile::tempdir().unwrap();
        let server = Server::start("sleeper", Command::new("sleep").arg("60"), logs.path()).unwrap();
        let process = PathBuf::from(format!("/proc/{}", server.pid()));
        assert!(process.exists());
        drop(server);
        assert!(!process.exists());
    }

    #[test]
    fn free_addresses_differ() {
        let first = free_address().unwrap();
        assert!(PORTS.contains(&first.port()));
        assert_ne!(first, free_address().unwrap());
    }

    #[test]
    fn a_server_is_ready_when_it_listens() {
        let logs = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Server::start("sleeper", Command::new("sleep").arg("60"), logs.path()).unwrap();
        let waited = server.wait(listener.local_addr().unwrap(), Ready::Listens).unwrap();
        assert!(waited < READY_LIMIT);
    }
}
