//! Clients that ask without a pause, over both protocols, as clients do: on one connection until it is closed, then on another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::grpc::GrpcClient;
use crate::rest::RestClient;

/// What one request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It was answered.
    Once,
    /// Its connection ended before a byte of an answer came; on another one it was answered.
    Again,
}

/// Many of them.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    tasks: JoinSet<Result<(), String>>,
}

#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    again: AtomicU64,
    slowest_microseconds: AtomicU64,
}

/// What all of them saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Requests that were answered rightly.
    pub(crate) answered: u64,
    /// Of these, those that were asked twice.
    pub(crate) again: u64,
    /// The longest that an answer took, both times included.
    pub(crate) slowest: Duration,
    /// What failed; a client whose request failed stops.
    pub(crate) failed: Vec<String>,
}

impl Clients {
    /// Starts so many of each protocol, for the model `byte`.
    pub(crate) fn start(rest: SocketAddr, grpc: SocketAddr, count: u8) -> Self {
        let mut clients = Self { stop: Arc::default(), counts: Arc::default(), tasks: JoinSet::new() };
        for byte in 0..count {
            clients.spawn(Client::Rest(RestClient::new(rest, byte)));
            clients.spawn(Client::Grpc(GrpcClient::new(grpc, byte)));
        }
        clients
    }

    fn spawn(&mut self, mut client: Client) {
        let (stop, counts) = (Arc::clone(&self.stop), Arc::clone(&self.counts));
        self.tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let asked = client.ask().await?;
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap();
                counts.answered.fetch_add(1, Ordering::Relaxed);
                counts.again.fetch_add(u64::from(asked == Asked::Again), Ordering::Relaxed);
                counts.slowest_microseconds.fetch_max(took, Ordering::Relaxed);
            }
            Ok(())
        });
    }

    pub(crate) fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Ends them.
    pub(crate) async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            failed.extend(ended.unwrap().err());
        }
        let slowest = self.counts.slowest_microseconds.load(Ordering::Relaxed);
        Seen {
            answered: self.answered(),
            again: self.counts.again.load(Ordering::Relaxed),
            slowest: Duration::from_micros(slowest),
            failed,
        }
    }
}

enum Client {
    Rest(RestClient),
    Grpc(GrpcClient),
}

impl Client {
    async fn ask(&mut self) -> Result<Asked, String> {
        match self {
            Self::Rest(client) => client.ask().await,
            Self::Grpc(client) => client.ask().await,
        }
    }
}
