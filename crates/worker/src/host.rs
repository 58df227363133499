//! The worker's side: what runs in the child process.

mod instance;
mod limits;
mod runs;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use adulis_backend::{Backend, Model};
use parking_lot::Mutex;

use crate::control::{Control, Heard, Message, VERSION};
use crate::link::Link;
use crate::open::WireRequest;
use crate::sheet::Sheet;
use runs::Runs;

/// Why a worker could not begin, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It was not started by a server.
    #[error("a worker is started by a server, which talks to it over its standard input: {0}")]
    NoServer(#[source] io::Error),
    /// What a terminal or an orchestrator sends could not be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[source] io::Error),
    /// The server said what it must not.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[source] io::Error),
}

/// What a worker has in common for all of its connections.
struct Host {
    backends: Vec<Arc<dyn Backend>>,
    /// The one model of the worker, with what it was asked for as.
    model: Mutex<Option<(WireRequest, Arc<dyn Model>)>>,
    runs: Runs,
}

/// Most bytes of a body before the server has said how many there may be.
const FIRST_BODY_BYTES: usize = 0;

/// Runs as a worker of the server at standard input, with these backends, until the server is gone. The process is then ended
/// at once, whatever its threads do: there is nobody left to do it for.
///
/// # Errors
/// [`HostError`].
pub fn run(backends: Vec<Arc<dyn Backend>>) -> Result<(), HostError> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(HostError::NoServer)?;
    let control = Control::new(UnixStream::from(socket));
    let _signals = limits::ignore_signals().map_err(HostError::Signals)?;
    limits::die_with_parent();
    control.send(Message::Hello { version: VERSION }, &[]).map_err(HostError::NoServer)?;
    let host = Arc::new(Host { backends, model: Mutex::new(None), runs: Runs::default() });
    loop {
        match control.receive().map_err(HostError::Protocol)? {
            Heard::Message(Message::Limits { memory, oom_score_adj }, _) => {
                limits::apply(memory, oom_score_adj);
            }
            Heard::Message(Message::Connect { id }, descriptors) => host.connect(id, descriptors)?,
            Heard::Message(Message::Interrupt { id, run }, _) => host.runs.interrupt(id, run),
            Heard::Message(Message::Ping { number }, _) => {
                // Where the server has no room for it, it does not wait for it either.
                let _ = control.send(Message::Pong { number }, &[]);
            }
            Heard::Message(Message::Hello { .. } | Message::Pong { .. }, _) => {
                return Err(HostError::Protocol(io::ErrorKind::InvalidData.into()));
            }
            Heard::Nothing => {}
            Heard::End => limits::end_at_once(),
        }
    }
}

impl Host {
    fn connect(self: &Arc<Self>, id: u64, descriptors: Vec<OwnedFd>) -> Result<(), HostError> {
        let protocol = |_| HostError::Protocol(io::ErrorKind::InvalidData.into());
        let [stream, incoming, outgoing] = <[OwnedFd; 3]>::try_from(descriptors).map_err(protocol)?;
        let sheets = (Sheet::from(outgoing), Sheet::from(incoming));
        let link = Link::new(UnixStream::from(stream), sheets, FIRST_BODY_BYTES);
        let host = Arc::clone(self);
        let thread = thread::Builder::new().name(format!("adulis-instance-{id}"));
        if let Err(error) = thread.spawn(move || instance::serve(&host, id, link)) {
            // The connection is dropped with what was to be done, which the server sees.
            tracing::error!(%error, "no thread for an instance");
        }
        Ok(())
    }
}
