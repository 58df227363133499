//! Engines in worker processes, as a backend around another backend.
//!
//! [`Workers::isolate`] wraps a backend. A model that is loaded through it lives in child processes of its own, as many as
//! [`WorkerOptions::count`] says: the front process keeps sockets, decoding, cache, queues and batching, and hands each batch
//! to a worker. A crash of the native library, an abort or a kill for want of memory ends a worker, not the server: the batch
//! is run again on another worker or a fresh one, since inference has no side effects; if that one dies too, the engine runs
//! the batch's requests one by one, so that only those fail that kill.
//!
//! A worker has one model. So a crash tells whose fault it is, the limit of memory is the model's, and other models notice
//! nothing. A keeper thread for each worker starts it, asks it for signs of life, restarts it after a delay that grows while
//! it dies without having answered or too often, and opens connections ahead so that nobody waits for a load who need not.
//!
//! What travels: control messages of fixed size over the worker's standard input, which is a socket; for each instance a
//! socket for frames, and two memory files, one for each direction, for tensors too large for a frame. Memory is read and
//! written, never mapped: that costs one copy more on each side and needs no `unsafe`, and nothing that a broken worker does
//! to a file can harm the server. Both sides check everything that comes, as what comes from outside.
//!
//! Deliberately not here: decoupled models, whose answers outlive their run; they stay in the server's process. Which requests
//! share a batch, and what becomes of one that failed, is the engine's.
//!
//! Linux only.

mod backend;
mod connection;
mod control;
mod death;
mod exchange;
mod fault;
mod frame;
mod group;
mod host;
mod instance;
mod interrupt;
mod keeper;
mod link;
mod model;
mod open;
mod options;
mod process;
#[doc(hidden)]
pub mod received;
mod restarts;
mod run;
mod sheet;
mod wire;

pub use backend::Workers;
pub use host::{HostError, run};
pub use options::{Isolation, WorkerCommand, WorkerOptions};
pub use restarts::Restarts;
