//! The metrics port has a thread of its own: scrapes and probes are answered whatever holds the I/O threads.

use std::future::Future;
use std::sync::mpsc;
use std::thread;

use adulis_http::{Drained, Listener};
use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

const NO_THREAD: &str = "cannot start the thread of the metrics port";

/// Opens a listener for a thread of its own, which does with it what `serve` says, and tells how that ended.
///
/// # Errors
/// As `listen`; if there can be no thread.
pub(super) fn serve_apart<S>(
    listen: impl FnOnce() -> anyhow::Result<Listener>,
    serve: impl FnOnce(Listener) -> S + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<Drained>>
where
    S: Future<Output = Drained>,
{
    let (give, given) = mpsc::channel::<(Runtime, Listener)>();
    let (ends, ended) = oneshot::channel();
    // First of all: a runtime can't be dropped here, where another one runs.
    let run = move || {
        if let Ok((runtime, listener)) = given.recv() {
            // Nobody may be there any more to hear of it.
            let _ = ends.send(runtime.block_on(serve(listener)));
        }
    };
    thread::Builder::new().name("adulis-metrics".to_owned()).spawn(run).context(NO_THREAD)?;
    let runtime = Builder::new_current_thread().enable_all().build().context(NO_THREAD)?;
    let listener = {
        let _within = runtime.enter();
        listen()
    };
    match listener {
        Ok(listener) => give.send((runtime, listener)).ok().context(NO_THREAD)?,
        Err(error) => {
            runtime.shutdown_background();
            return Err(error);
        }
    }
    Ok(ended)
}
