use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use http::HeaderMap;

use crate::client::Client;
use crate::connect::Connector;
use crate::deck::{Dealer, Deck};
use crate::gate::Gate;
use crate::grpc::{GrpcClient, GrpcConnection};
use crate::http1::Http1Client;
use crate::lane::{Lane, Slot};
use crate::load::Load;
use crate::pacer::Pacer;
use crate::schedule::{Arrivals, Distribution};
use crate::tally::Tally;
use crate::verify::Verify;

/// How requests reach a target.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    /// One HTTP/1.1 connection per slot; the requests hold their heads.
    Http1,
    /// HTTP/2 connections of so many streams each.
    Grpc {
        /// Path of the method.
        path: String,
        /// Slots that share a connection.
        streams: usize,
        /// Metadata of every request.
        headers: HeaderMap,
    },
}

/// What a fleet sends, and where.
#[derive(Debug, Clone)]
pub(crate) struct Mission {
    /// How the server is reached.
    pub(crate) connector: Connector,
    pub(crate) wire: Wire,
    pub(crate) deck: Arc<Deck>,
    pub(crate) timeout: Duration,
    /// From when on an answer is of no use.
    pub(crate) deadline: Option<Duration>,
    pub(crate) verify: Verify,
}

/// How a fleet sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tactics {
    pub(crate) load: Load,
    pub(crate) distribution: Distribution,
    pub(crate) seed: u64,
    /// Most threads.
    pub(crate) threads: usize,
    /// Slots of an open loop.
    pub(crate) connections: usize,
}

impl Tactics {
    /// Requests that may be in flight at once.
    fn slots(&self) -> usize {
        match self.load {
            Load::Concurrency(count) => count.max(1),
            Load::Rate(_) => self.connections.max(1),
        }
    }
}

/// The threads that send to one target. They hold their requests back until [`Fleet::resume`].
pub(crate) struct Fleet {
    gate: Arc<Gate>,
    lanes: Vec<Arc<Lane>>,
    ended: Vec<tokio::sync::oneshot::Receiver<()>>,
}

/// How long requests in flight may take to end when a fleet pauses or stops.
const DRAIN: Duration = Duration::from_secs(5);

impl Fleet {
    /// Starts one thread per lane, each with its own runtime and its share of the slots.
    pub(crate) fn start(mission: &Mission, tactics: Tactics) -> anyhow::Result<Self> {
        let slots = tactics.slots();
        let threads = tactics.threads.clamp(1, slots);
        let gate = Arc::new(Gate::default());
        let mut fleet = Self {
            gate: Arc::clone(&gate),
            lanes: Vec::with_capacity(threads),
            ended: Vec::with_capacity(threads),
        };
        for index in 0..threads {
            let plan = LanePlan {
                mission: mission.clone(),
                tactics,
                place: (u32::try_from(index)?, u32::try_from(threads)?),
                // The first lanes take what does not divide evenly.
                slots: slots / threads + usize::from(index < slots % threads),
                gate: Arc::clone(&gate),
                lane: Lane::new(),
            };
            fleet.lanes.push(Arc::clone(&plan.lane));
            let (end, ended) = tokio::sync::oneshot::channel();
            fleet.ended.push(ended);
            std::thread::Builder::new()
                .name(format!("bench-{index}"))
                .spawn(move || {
                    plan.run();
                    // Nobody listens any more if the fleet was dropped.
                    let _ = end.send(());
                })
                .context("cannot start a thread")?;
        }
        Ok(fleet)
    }

    /// Lets requests be sent.
    pub(crate) fn resume(&self) {
        self.gate.open();
    }

    /// Sends no more, and waits until what is in flight has been answered (at most five seconds).
    pub(crate) async fn pause(&self) {
        self.gate.close();
        let give_up = Instant::now() + DRAIN;
        while self.busy() > 0 && Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Requests in flight.
    pub(crate) fn busy(&self) -> usize {
        self.lanes.iter().map(|lane| lane.busy()).sum()
    }

    /// How long ago the oldest request of an open loop should have been sent that has not been.
    pub(crate) fn behind(&self) -> Duration {
        let now = Instant::now();
        self.lanes.iter().map(|lane| lane.behind(now)).max().unwrap_or_default()
    }

    /// Takes what was counted since the last call.
    pub(crate) fn take(&self) -> Tally {
        let mut total = Tally::default();
        for lane in &self.lanes {
            total.merge(lane.take());
        }
        total
    }

    /// Ends the threads; what is in flight after five seconds is dropped.
    pub(crate) async fn stop(mut self) {
        self.gate.stop();
        for ended in std::mem::take(&mut self.ended) {
            let _dropped_means_ended = ended.await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.gate.stop();
    }
}

struct LanePlan {
    mission: Mission,
    tactics: Tactics,
    /// Index and count of lanes.
    place: (u32, u32),
    slots: usize,
    gate: Arc<Gate>,
    lane: Arc<Lane>,
}

impl LanePlan {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(self.send()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = result {
            // The window then shows fewer requests or none; this line says why.
            eprintln!("a sending thread ended: {error:#}");
        }
    }

    async fn send(self) -> anyhow::Result<()> {
        let mut tasks = tokio::task::JoinSet::new();
        let Tactics { distribution, seed, .. } = self.tactics;
        let pacer = match self.tactics.load {
            Load::Concurrency(_) => None,
            Load::Rate(rate) => {
                let arrivals = Arrivals::new(rate, distribution, seed, self.place);
                Some(Arc::new(tokio::sync::Mutex::new(Pacer::new(arrivals)?)))
            }
        };
        for (index, client) in self.clients()?.into_iter().enumerate() {
            let slot = Slot {
                client,
                deck: Arc::clone(&self.mission.deck),
                dealer: Dealer::new(seed, self.place.0 as usize + index * self.place.1 as usize),
                lane: Arc::clone(&self.lane),
                gate: Arc::clone(&self.gate),
                deadline: self.mission.deadline,
                verify: self.mission.verify,
            };
            match &pacer {
                None => tasks.spawn(slot.closed_loop()),
                Some(pacer) => tasks.spawn(slot.open_loop(Arc::clone(pacer))),
            };
        }
        self.gate.stopped().await;
        let drained = async { while tasks.join_next().await.is_some() {} };
        // What takes longer is dropped with its connection.
        let _late = tokio::time::timeout(DRAIN, drained).await;
        Ok(())
    }

    fn clients(&self) -> anyhow::Result<Vec<Client>> {
        let Mission { connector, timeout, .. } = &self.mission;
        let mut clients = Vec::with_capacity(self.slots);
        match &self.mission.wire {
            Wire::Http1 => {
                clients.resize_with(self.slots, || {
                    Client::Http1(Box::new(Http1Client::new(connector.clone(), *timeout)))
                });
            }
            Wire::Grpc { path, streams, headers } => {
                let mut connection = GrpcConnection::new(connector.clone());
                for index in 0..self.slots {
                    if index > 0 && index % (*streams).max(1) == 0 {
                        connection = GrpcConnection::new(connector.clone());
                    }
                    let client = GrpcClient::new(Arc::clone(&connection), path, headers, *timeout)?;
                    clients.push(Client::Grpc(Box::new(client)));
                }
            }
        }
        Ok(clients)
    }
}
