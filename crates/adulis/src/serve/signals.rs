use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process is told.
pub(super) enum Told {
    Stop(&'static str),
    Reload,
}

/// SIGTERM and SIGINT, and SIGHUP where there is something to reload. They are caught as long as the process lives, and what
/// comes before it is asked for is not lost.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    /// Catches them from here on. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// As the system says.
    pub fn catch(reloads: bool) -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hang_up: reloads.then(|| catch(SignalKind::hangup())).transpose()?,
        })
    }

    pub(super) async fn next(&mut self) -> Told {
        let Self { terminate, interrupt, hang_up } = self;
        let hang_up = async {
            match hang_up {
                Some(hang_up) => drop(hang_up.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => Told::Stop("SIGTERM"),
            _ = interrupt.recv() => Told::Stop("SIGINT"),
            () = hang_up => Told::Reload,
        }
    }

    /// The name of the next one to stop. What else comes meanwhile is kept.
    pub async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
