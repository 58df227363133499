//! `adulis up`: a small process that holds the listening sockets, and starts, replaces and restarts the server behind them.
//!
//! It serves nothing itself. While there is no server, or one takes the place of another, connections wait in the sockets'
//! backlogs: nobody is refused.

mod child;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use adulis_worker::Restarts;
use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{self, WaitOptions, WaitStatus, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::child::{Child, Role};
use crate::cli::{EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_OK, ServeArgs};
use crate::config::Config;
use crate::serve::ServeOptions;
use crate::sockets::Sockets;

/// A server that was there for so long has started well: when it ends, the next one is started at once.
const SETTLED: Duration = Duration::from_secs(10);
/// How much longer than its configuration says a server may take to stop.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// A day: longer than anything is waited for.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs until it is told to stop. Gives the exit code: that of the last server.
///
/// # Errors
/// The sockets cannot be opened, signals cannot be caught, the program cannot be found.
pub async fn up(args: ServeArgs, config: Config, passed: Sockets) -> anyhow::Result<u8> {
    let mut up = Up::new(args, config, passed)?;
    let mut signals = Signals::new()?;
    up.start();
    loop {
        let until = up.next_moment().unwrap_or(Instant::now() + NEVER);
        tokio::select! {
            told = signals.next() => match told {
                Told::Stop(signal) => up.stop(signal),
                Told::Replace => up.replace(),
                Told::Ended => {}
            },
            Some(pid) = up.readiness.1.recv() => up.ready(pid),
            () = tokio::time::sleep_until(until.into()) => {}
        }
        up.reap();
        up.act(Instant::now());
        if let Some(code) = up.done() {
            tracing::info!(code, "stopped");
            return Ok(code);
        }
    }
}

/// A socket that listens.
struct Socket {
    /// What it is for, as [`ServeOptions::addresses`] names it.
    name: &'static str,
    /// Where it was configured to listen.
    address: SocketAddr,
    listener: TcpListener,
}

struct Up {
    args: ServeArgs,
    config: Config,
    /// That of the server that serves, while another is being started in its place.
    before: Option<Config>,
    program: PathBuf,
    sockets: Vec<Socket>,
    children: Vec<Child>,
    restarts: Restarts,
    /// When a server is to be started in the place of one that ended by itself.
    restart_at: Option<Instant>,
    stopping: bool,
    /// Told by servers that are ready, with their process ids.
    readiness: (mpsc::UnboundedSender<u32>, mpsc::UnboundedReceiver<u32>),
    code: u8,
}

impl Up {
    fn new(args: ServeArgs, config: Config, mut passed: Sockets) -> anyhow::Result<Self> {
        let mut up = Self {
            restarts: Restarts::new(config.supervisor.min_delay, config.supervisor.max_delay),
            args,
            // Now: when another file has taken its place, that is what is to be started.
            program: std::env::current_exe().context("cannot tell which program this is")?,
            config,
            before: None,
            sockets: Vec::new(),
            children: Vec::new(),
            restart_at: None,
            stopping: false,
            readiness: mpsc::unbounded_channel(),
            code: EXIT_OK,
        };
        up.open(&up.config.clone(), &mut passed)?;
        passed.close_rest();
        Ok(up)
    }

    /// Opens what a configuration wants and is not open yet, all of it or nothing. What it wants no more stays open until a
    /// server that does without it is ready.
    fn open(&mut self, config: &Config, passed: &mut Sockets) -> anyhow::Result<()> {
        let mut opened = Vec::new();
        for (name, address) in ServeOptions::of(config).addresses() {
            if self.sockets.iter().any(|socket| (socket.name, socket.address) == (name, address)) {
                continue;
            }
            let listener = match passed.take(name, address)? {
                Some(socket) => socket,
                None => self.listen(name, address)?,
            };
            opened.push(Socket { name, address, listener });
        }
        self.sockets.append(&mut opened);
        Ok(())
    }

    /// Listens at an address. What does so already for something else may do so for this, too.
    fn listen(&self, name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
        let same = self.sockets.iter().find(|socket| socket.address == address && address.port() != 0);
        let listener = match same {
            Some(socket) => socket.listener.try_clone(),
            None => adulis_http::listening_socket(address),
        };
        listener.with_context(|| format!("cannot listen on {address} for {name}"))
    }

    /// Starts a server: the first, one in the place of one that ended, or one beside the one that serves.
    fn start(&mut self) {
        let role = if self.serving().is_some() { Role::Next } else { Role::Serving };
        let wanted = ServeOptions::of(&self.config).addresses();
        let sockets = self.sockets.iter().filter(|socket| wanted.contains(&(socket.name, socket.address)));
        let sockets: Vec<_> = sockets.map(|socket| (socket.name, &socket.listener)).collect();
        match Child::start(&self.program, role, &sockets, self.readiness.0.clone()) {
            Ok(child) => {
                tracing::info!(pid = child.pid(), "server started");
                self.children.push(child);
            }
            Err(error) => {
                tracing::error!(%error, "no server can be started");
                self.failed();
            }
        }
    }

    fn serving(&self) -> Option<&Child> {
        self.children.iter().find(|child| child.role == Role::Serving)
    }

    /// A signal to stop: all servers are told. The second time, to stop at once.
    fn stop(&mut self, signal: &'static str) {
        tracing::info!(signal, "stopping");
        let again = std::mem::replace(&mut self.stopping, true);
        self.restart_at = None;
        let limit = self.stop_limit();
        for child in &mut self.children {
            if child.role == Role::Next {
                child.role = Role::Leaving;
            }
            if again {
                child.stop_at_once();
            } else {
                child.stop(limit);
            }
        }
    }

    /// How long a server may take to stop, as it is configured.
    fn stop_limit(&self) -> Duration {
        let server = &self.config.server;
        server.lame_duck + server.drain_timeout + self.config.store.shutdown_timeout + STOP_MARGIN
    }

    /// A signal to replace the server by a fresh one, with the configuration as it is now.
    fn replace(&mut self) {
        if self.stopping {
            return;
        }
        if self.children.iter().any(|child| child.role == Role::Next) {
            tracing::warn!("a server is being started already: send the signal again when it is ready");
            return;
        }
        if let Some(before) = self.renew() {
            self.before = self.serving().map(|_| before);
            self.restart_at = None;
            self.start();
        }
    }

    /// Takes the configuration as it is now, and opens what it wants. Gives the one before; nothing where it is at fault.
    fn renew(&mut self) -> Option<Config> {
        let config = match self.args.load() {
            Ok(loaded) => loaded.config,
            Err(errors) => {
                tracing::error!(%errors, "the configuration is at fault: the old one holds");
                return None;
            }
        };
        if let Err(error) = self.open(&config, &mut Sockets::default()) {
            tracing::error!("{error:#}: the old configuration holds");
            return None;
        }
        Some(std::mem::replace(&mut self.config, config))
    }

    /// The server that was to take another's place never will: nobody is to wait at its addresses.
    fn give_up_next(&mut self) {
        if let Some(before) = self.before.take() {
            self.config = before;
            self.close_unwanted();
        }
    }

    fn close_unwanted(&mut self) {
        let wanted = ServeOptions::of(&self.config).addresses();
        self.sockets.retain(|socket| wanted.contains(&(socket.name, socket.address)));
    }

    /// A server is ready: the one before it may go.
    fn ready(&mut self, pid: u32) {
        let limit = self.stop_limit();
        let Some(next) = self.children.iter().position(|child| child.pid() == pid) else {
            return;
        };
        self.children[next].ready = true;
        if self.children[next].role != Role::Next {
            return;
        }
        for child in &mut self.children {
            match child.role {
                Role::Serving => {
                    tracing::info!(pid, replaced = child.pid(), "the new server is ready: the old one stops");
                    child.role = Role::Leaving;
                    child.stop(limit);
                }
                Role::Next if child.pid() == pid => child.role = Role::Serving,
                Role::Next | Role::Leaving => {}
            }
        }
        self.before = None;
        self.close_unwanted();
    }

    /// Takes note of every process that has ended: servers, and, where this is a container's first process, orphans.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if status.exited() || status.signaled() => {
                    let pid = pid.as_raw_nonzero().get().unsigned_abs();
                    self.ended(pid, status);
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn ended(&mut self, pid: u32, status: WaitStatus) {
        let Some(index) = self.children.iter().position(|child| child.pid() == pid) else {
            return;
        };
        let child = self.children.remove(index);
        let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
        let how = match (code, status.terminating_signal()) {
            (Some(code), _) => format!("it exited with code {code}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => "it ended".to_owned(),
        };
        if self.stopping || child.role == Role::Leaving {
            tracing::info!(pid, how, "server stopped");
            if self.stopping {
                self.code = self.code.max(code.unwrap_or(EXIT_FAILURE));
            }
            return;
        }
        if child.role == Role::Next {
            tracing::error!(pid, how, "the new server ended before it was ready: the old one goes on");
            self.give_up_next();
            return;
        }
        if child.ready && child.age() >= SETTLED {
            self.restarts.succeeded();
        }
        // A server that is being started beside it takes its place.
        if let Some(next) = self.children.iter_mut().find(|child| child.role == Role::Next) {
            next.promote();
            tracing::error!(pid, how, replaced_by = next.pid(), "the server ended by itself");
            self.before = None;
            return;
        }
        if code == Some(EXIT_CONFIGURATION) && !child.ready && self.restarts.failures() == 0 {
            // It has said what is at fault, and would say it again.
            (self.stopping, self.code) = (true, EXIT_CONFIGURATION);
            return;
        }
        tracing::error!(pid, how, "the server ended by itself: it is started again");
        self.failed();
    }

    fn failed(&mut self) {
        self.restart_at = Some(Instant::now() + self.restarts.delay());
        self.restarts.failed();
    }

    /// When there is something to do that nothing else tells.
    fn next_moment(&self) -> Option<Instant> {
        let limits =
            self.children.iter().filter_map(|child| child.limit(self.config.supervisor.start_timeout));
        self.restart_at.into_iter().chain(limits).min()
    }

    /// Does what is due.
    fn act(&mut self, now: Instant) {
        if self.restart_at.is_some_and(|at| at <= now) && !self.stopping {
            self.restart_at = None;
            // The server reads its configuration anew, too, and is to find its sockets open.
            let _ = self.renew();
            self.start();
        }
        let start_timeout = self.config.supervisor.start_timeout;
        for child in &mut self.children {
            if child.limit(start_timeout).is_none_or(|limit| now < limit) {
                continue;
            }
            let what = if child.role == Role::Next { "did not get ready" } else { "did not stop" };
            tracing::error!(pid = child.pid(), "a server {what} in time, and is killed");
            child.kill(process::Signal::KILL);
        }
    }

    /// The exit code, once nothing is left to be done.
    fn done(&self) -> Option<u8> {
        (self.stopping && self.children.is_empty()).then_some(self.code)
    }
}

/// What this process is told.
enum Told {
    Stop(&'static str),
    /// A fresh server is to take the place of the one that serves.
    Replace,
    /// A process has ended.
    Ended,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user2: Signal,
    child: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hang_up: catch(SignalKind::hangup())?,
            user2: catch(SignalKind::user_defined2())?,
            child: catch(SignalKind::child())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Told::Stop("SIGINT"),
            _ = self.hang_up.recv() => Told::Replace,
            _ = self.user2.recv() => Told::Replace,
            _ = self.child.recv() => Told::Ended,
        }
    }
}
