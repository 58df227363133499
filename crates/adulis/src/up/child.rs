use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::handover;

/// What a server is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It serves, ready or not.
    Serving,
    /// It is to take the place of the one that serves.
    Next,
    /// It is to end.
    Leaving,
}

/// A server process. It is reaped by whoever has it.
pub(super) struct Child {
    pub(super) role: Role,
    pub(super) ready: bool,
    pid: Pid,
    started: Instant,
    /// Until when it is to have ended.
    stop_by: Option<Instant>,
    killed: bool,
    /// Our end of its standard input, which tells it when it ends that we are gone.
    words: UnixStream,
    /// Waits for what it says.
    listening: JoinHandle<()>,
}

impl Child {
    /// Starts `adulis serve` with the arguments of this process, and passes it the sockets. One that serves accepts connections
    /// at once, others when they are ready. `ready` is told its process id when it is.
    pub(super) fn start(
        program: &Path,
        role: Role,
        sockets: &[(&str, &TcpListener)],
        ready: UnboundedSender<u32>,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // Before it is there: the socket keeps it.
        handover::give(&ours, sockets)?;
        if role == Role::Serving {
            handover::tell_to_serve(&ours)?;
        }
        ours.set_nonblocking(true)?;
        let words = ours.try_clone()?;
        let mut ours = tokio::net::UnixStream::from_std(ours)?;
        let mut command = Command::new(program);
        command.args(arguments(std::env::args_os())).stdin(Stdio::from(OwnedFd::from(theirs)));
        // What a terminal sends to all in front of it is for this process to pass on, once.
        command.process_group(0);
        let process = command.spawn()?;
        let pid = Pid::from_child(&process);
        let number = process.id();
        let listening = tokio::spawn(async move {
            if handover::is_ready(&mut ours).await {
                // Whoever waits for it may be gone.
                let _ = ready.send(number);
            }
            std::future::pending::<()>().await;
        });
        Ok(Self {
            role,
            ready: false,
            pid,
            started: Instant::now(),
            stop_by: None,
            killed: false,
            words,
            listening,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The one before it is gone: it is to serve, ready or not.
    pub(super) fn promote(&mut self) {
        self.role = Role::Serving;
        if let Err(error) = handover::tell_to_serve(&self.words) {
            tracing::warn!(%error, pid = self.pid(), "a server cannot be told to serve");
        }
    }

    /// Asks it to stop, unless it was asked already: a second signal cuts off what it still answers.
    pub(super) fn stop(&mut self, limit: Duration) {
        if self.stop_by.is_none() {
            self.stop_by = Some(Instant::now() + limit);
            self.signal(Signal::TERM);
        }
    }

    /// Asks it, which was asked to stop, to do so at once.
    pub(super) fn stop_at_once(&self) {
        self.signal(Signal::TERM);
    }

    pub(super) fn kill(&mut self, signal: Signal) {
        self.killed = true;
        self.signal(signal);
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process(self.pid, signal) {
            tracing::warn!(%error, pid = self.pid(), "a server cannot be sent a signal");
        }
    }

    /// When it has had time enough: to stop, or to get ready in the place of another.
    pub(super) fn limit(&self, start_timeout: Duration) -> Option<Instant> {
        if self.killed {
            return None;
        }
        match self.role {
            Role::Next => self.started.checked_add(start_timeout),
            Role::Serving | Role::Leaving => self.stop_by,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The server's arguments: ours with another subcommand.
fn arguments(ours: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let rest = ours.skip(1).skip_while(|argument| argument != "up").skip(1);
    ["serve", "--supervised"].into_iter().map(OsString::from).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_has_our_arguments() {
        let ours = ["/bin/adulis", "up", "models/", "--http", "up"].into_iter().map(OsString::from);
        assert_eq!(arguments(ours), ["serve", "--supervised", "models/", "--http", "up"]);
    }
}
