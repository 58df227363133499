//! Connections that are open beside the load and do nothing.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::client::Keep;
use crate::connect::Connector;
use crate::failure::{Failure, FailureKind};
use crate::http1::Http1Client;

/// Asked at a time.
const AT_ONCE: usize = 128;
/// Between two requests of a connection: servers close those that are silent for longer.
const REFRESH: Duration = Duration::from_secs(30);

/// What became of the idle connections of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdleReport {
    /// How many were held.
    pub connections: usize,
    /// How often one of them turned out to be closed.
    pub lost: usize,
}

/// Connections that are held.
pub(crate) struct Idle {
    stop: oneshot::Sender<()>,
    task: JoinHandle<IdleReport>,
}

impl Idle {
    /// Opens so many of them, and sends the same request on each: when it is opened, every half a minute, and at the end. Any
    /// answer is good.
    ///
    /// # Errors
    /// One that cannot be opened, or is not answered.
    pub(crate) async fn open(
        connections: usize,
        (connector, timeout): (Connector, Duration),
        request: Vec<u8>,
    ) -> anyhow::Result<Self> {
        let new = || Http1Client::new(connector.clone(), timeout);
        let held = Held { clients: Vec::new(), request: request.into() };
        let (held, failures) = held.ask(std::iter::repeat_with(new).take(connections).collect()).await;
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure)
                .context("an idle connection cannot be opened (many need a higher `ulimit -n`)");
        }
        let (stop, stopped) = oneshot::channel();
        Ok(Self { stop, task: tokio::spawn(held.keep(stopped)) })
    }

    /// Sees which of them are still there, and closes them.
    ///
    /// # Errors
    /// The task that held them panicked.
    pub(crate) async fn close(self) -> anyhow::Result<IdleReport> {
        // If it has ended, its result says why.
        let _ = self.stop.send(());
        self.task.await.context("the task that holds idle connections panicked")
    }
}

struct Held {
    clients: Vec<Http1Client>,
    request: std::sync::Arc<[u8]>,
}

impl Held {
    async fn keep(mut self, mut stopped: oneshot::Receiver<()>) -> IdleReport {
        let mut report = IdleReport { connections: self.clients.len(), lost: 0 };
        loop {
            let is_over = tokio::time::timeout(REFRESH, &mut stopped).await.is_ok();
            let clients = std::mem::take(&mut self.clients);
            let failures;
            (self, failures) = self.ask(clients).await;
            report.lost += failures.len();
            if is_over {
                return report;
            }
        }
    }

    /// Has each client ask once, and takes it in. One whose connection was closed connects anew with its next request.
    async fn ask(mut self, clients: Vec<Http1Client>) -> (Self, Vec<Failure>) {
        let (mut asking, mut failures) = (JoinSet::new(), Vec::new());
        let mut waiting = clients.into_iter();
        loop {
            while asking.len() < AT_ONCE
                && let Some(mut client) = waiting.next()
            {
                let request = std::sync::Arc::clone(&self.request);
                asking.spawn(async move {
                    let answer = client.call(&request, Keep::Nothing).await;
                    (client, answer)
                });
            }
            let Some(ended) = asking.join_next().await else {
                return (self, failures);
            };
            // A client that panicked is gone.
            let Ok((client, answer)) = ended else { continue };
            self.clients.push(client);
            match answer {
                Err(Failure { kind: FailureKind::Http(_), .. }) | Ok(_) => {}
                Err(failure) => failures.push(failure),
            }
        }
    }
}
