//! What one process hears from the other, for the fuzzer: read as both of them read it.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;

use adulis_backend::{Execution, ModelSignature};

use crate::control::Message;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::frame::{HEADER_BYTES, Header};
use crate::link::Link;
use crate::open::{Open, Opened, WireRequest};
use crate::run::{RunHead, read_ran, read_run, write_ran, write_run};
use crate::sheet::Sheet;

/// The forms in which something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A message over the worker's standard input.
    Message,
    /// The header of a frame.
    Header,
    /// The head of a frame that asks for an instance.
    Open,
    /// The head of a frame that says what a model is like.
    Opened,
    /// The head of a frame with a batch.
    Run,
    /// The head of a frame with what a batch gave.
    Ran,
    /// The head of a frame that says why not.
    Failed,
}

/// Longest body here.
const MAX_BODY_BYTES: usize = 1 << 20;
/// More than a socket surely takes without a reader.
const MAX_STREAM_BYTES: usize = 64 << 10;

/// Reads bytes in a form, and writes what was read; `None` where they are refused.
#[must_use]
pub fn rewritten(form: Form, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match form {
        Form::Message => out.extend(Message::read(bytes.try_into().ok()?)?.write()),
        Form::Header => {
            let bytes: [u8; HEADER_BYTES] = bytes.try_into().ok()?;
            out.extend(Header::read(bytes, MAX_BODY_BYTES)?.write());
        }
        Form::Open => {
            let Open { backend, max_body_bytes, model } = serde_json::from_slice(bytes).ok()?;
            let model = match model {
                Some(model) => Some(WireRequest::from(&model.read()?)),
                None => None,
            };
            out = serde_json::to_vec(&Open { backend, max_body_bytes, model }).ok()?;
        }
        Form::Opened => {
            let opened: Opened = serde_json::from_slice(bytes).ok()?;
            out = serde_json::to_vec(&opened.reread()?).ok()?;
        }
        Form::Run => {
            let RunHead { inputs, requests } = read_run(bytes)?;
            write_run(&mut out, inputs.into_iter(), &requests);
        }
        Form::Ran => write_ran(&mut out, &read_ran(bytes)?),
        Form::Failed => out = Fault::from_json(bytes)?.to_json(),
    }
    Some(out)
}

/// The answers of a worker that says these bytes and has `sheet` in its file, to runs of a model of this signature, for one
/// request each; those before the first that is none.
///
/// # Errors
/// As the system says, where there are no sockets or files.
pub fn answers(stream: &[u8], sheet: &[u8], signature: &ModelSignature) -> io::Result<Vec<Execution>> {
    let (near, far) = UnixStream::pair()?;
    let (outgoing, incoming) = (Sheet::new()?, Sheet::new()?);
    incoming.write(std::iter::once(sheet))?;
    (&far).write_all(&stream[..stream.len().min(MAX_STREAM_BYTES)])?;
    drop(far);
    let mut exchange = Exchange::new(Link::new(near, (outgoing, incoming), MAX_BODY_BYTES));
    let runs = std::iter::from_fn(|| {
        exchange.run += 1;
        exchange.ran(signature, 1).ok()
    });
    Ok(runs.collect())
}
