use std::future::Future;
use std::io;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

/// A runtime of our own, so that whoever mirrors may block in any thread, with or without a runtime around it.
#[derive(Debug)]
pub(crate) struct Runner(Option<Runtime>);

impl Runner {
    pub(crate) fn new() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        // Waiting for the network and writing files: more threads would not be faster.
        let runtime = builder.worker_threads(2).thread_name("adulis-storage").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Starts a task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        let (alive, ended) = mpsc::channel();
        let task = async move {
            let _alive: mpsc::Sender<()> = alive;
            task.await;
        };
        Task { handle: self.0.as_ref().map(|runtime| runtime.spawn(task)), ended }
    }

    /// Waits for an answer. `None` if its task panicked.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = mpsc::channel();
        let _task = self.spawn(async move {
            // Whoever asked is waiting.
            let _ = sender.send(work.await);
        });
        receiver.recv().ok()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // In an asynchronous context, a runtime must not be waited for.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that has ended when this has been dropped.
pub(crate) struct Task {
    handle: Option<tokio::task::JoinHandle<()>>,
    ended: mpsc::Receiver<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.handle {
            task.abort();
        }
        // Nothing is ever sent: this ends when the task has dropped its end.
        let _ = self.ended.recv();
    }
}
