use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use adulis_telemetry::{ListenerMetrics, OpenConnection};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ListenerOptions;
use super::activity::Activity;
use super::idle::{IdleLimits, IdleWatch, Useless};
use super::peers::{Peer, Peers};

/// What a connection is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub(super) enum Order {
    /// Nothing.
    #[default]
    GoOn = 0,
    /// To end after the requests in progress.
    Drain = 1,
    /// To end now.
    Close = 2,
}

/// All connections of a listener, at most so many.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    peer_limit: usize,
    open: Mutex<Open>,
    empty: Notify,
    metrics: Arc<ListenerMetrics>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
    peers: Peers,
    /// For those that come later too.
    order: Order,
}

#[derive(Debug)]
struct Entry {
    activity: Arc<Activity>,
    idle: IdleWatch,
}

/// A connection's place among [`Connections`]; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    key: u64,
    peer: Peer,
    pub(super) activity: Arc<Activity>,
    _counted: OpenConnection,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are as many connections as may be.
    InAll,
    /// There are as many of this peer.
    OfPeer,
}

impl Connections {
    pub(super) fn new(options: &ListenerOptions, metrics: ListenerMetrics) -> Arc<Self> {
        Arc::new(Self {
            limit: options.max_connections,
            peer_limit: options.max_connections_per_peer,
            open: Mutex::default(),
            empty: Notify::new(),
            metrics: Arc::new(metrics),
        })
    }

    /// A place for one more connection, unless there are as many as may be, in all or of this peer.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Full> {
        let peer = Peer::from(peer);
        let mut open = self.open.lock();
        if open.entries.len() >= self.limit {
            self.metrics.refused_in_all.inc();
            return Err(Full::InAll);
        }
        if !open.peers.enter(peer, self.peer_limit) {
            self.metrics.refused_of_peer.inc();
            return Err(Full::OfPeer);
        }
        let activity = Arc::new(Activity::default());
        activity.order(open.order);
        let key = open.next;
        open.next += 1;
        let entry = Entry { activity: Arc::clone(&activity), idle: IdleWatch::default() };
        open.entries.insert(key, entry);
        drop(open);
        let _counted = OpenConnection::new(&self.metrics);
        Ok(Place { connections: Arc::clone(self), key, peer, activity, _counted })
    }

    fn count_useless(&self, found: Useless) {
        match found {
            Useless::SlowHead => self.metrics.slow.inc(),
            Useless::Idle => self.metrics.idle.inc(),
            Useless::Stuck => self.metrics.stuck.inc(),
        };
    }

    pub(super) fn count(&self) -> usize {
        self.open.lock().entries.len()
    }

    pub(super) fn order_all(&self, order: Order) {
        let mut open = self.open.lock();
        open.order = open.order.max(order);
        for entry in open.entries.values() {
            entry.activity.order(order);
        }
    }

    /// Resolves when there is no connection.
    pub(super) async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.entries.remove(&self.key);
        open.peers.leave(self.peer);
        if open.entries.is_empty() {
            self.connections.empty.notify_waiters();
        }
    }
}

/// Looks at every connection at intervals and ends those that are of no use. Never returns.
pub(super) async fn watch(connections: Arc<Connections>, limits: IdleLimits) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(limits.period()).await;
        let elapsed = last.elapsed();
        last = Instant::now();
        for entry in connections.open.lock().entries.values_mut() {
            let Some(found) = entry.idle.look(entry.activity.observe(), elapsed, limits) else {
                continue;
            };
            if entry.activity.order(found.order()) {
                connections.count_useless(found);
            }
        }
    }
}
