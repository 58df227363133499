use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use super::connections::Order;
use super::idle::Observation;

/// What one connection is doing, written by its task and read by the watch.
///
/// Counters wrap; only their changes are looked at. Ordering is relaxed throughout: a look that is late by one update is
/// made good by the next look.
#[derive(Debug)]
pub(super) struct Activity {
    reads: AtomicU32,
    /// Bytes.
    written: AtomicU64,
    /// The last write has to wait until the client takes what was sent before.
    blocked: AtomicBool,
    /// Parts of answers that are neither written nor given up.
    untaken: AtomicU32,
    /// Requests that have begun.
    requests: AtomicU32,
    /// Requests whose answer has not come to its end yet.
    in_flight: AtomicU32,
    /// `reads` when the last answer ended: more since then means that the next request's head has begun.
    settled: AtomicU32,
    multiplexed: AtomicU8,
    order: AtomicU8,
    waker: OnceLock<Waker>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            reads: AtomicU32::new(0),
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            untaken: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            // No number of reads yet: the first head is waited for from the beginning.
            settled: AtomicU32::new(u32::MAX),
            multiplexed: AtomicU8::new(0),
            order: AtomicU8::new(0),
            waker: OnceLock::new(),
        }
    }
}

impl Activity {
    pub(super) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        self.flows();
    }

    /// A write waits for the client.
    pub(super) fn blocks(&self) {
        self.blocked.store(true, Ordering::Relaxed);
    }

    /// No write waits for the client any more.
    pub(super) fn flows(&self) {
        self.blocked.store(false, Ordering::Relaxed);
    }

    pub(super) fn part_given(&self) {
        self.untaken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn part_gone(&self) {
        self.untaken.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request has begun.
    pub(super) fn began(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A TLS handshake is the connection's business until it is done; it has a time limit of its own. Then the first head is
    /// waited for.
    pub(super) fn handshake_began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn handshake_ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// On HTTP/2 bytes that come between requests are neither the beginning of one nor a use of the connection: pings,
    /// window updates.
    pub(super) fn multiplex(&self) {
        self.multiplexed.store(1, Ordering::Relaxed);
    }

    pub(super) fn observe(&self) -> Observation {
        let reads = self.reads.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        let requests = self.requests.load(Ordering::Relaxed);
        let busy = self.in_flight.load(Ordering::Relaxed) > 0;
        let owing = self.untaken.load(Ordering::Relaxed) > 0 || self.blocked.load(Ordering::Relaxed);
        let multiplexed = self.multiplexed.load(Ordering::Relaxed) == 1;
        let (head_begun, used) = if multiplexed {
            (requests == 0, requests.into())
        } else {
            (
                !owing && reads != self.settled.load(Ordering::Relaxed),
                written.wrapping_add(reads.into()),
            )
        };
        Observation { busy, owing, multiplexed, head_begun: !busy && head_begun, used, written }
    }

    /// Gives an order and has the connection's task look at it. Says whether it is a new one.
    pub(super) fn order(&self, order: Order) -> bool {
        let before = self.order.fetch_max(order as u8, Ordering::AcqRel);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        before < order as u8
    }

    pub(super) fn ordered(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::GoOn,
            1 => Order::Drain,
            _ => Order::Close,
        }
    }

    /// Keeps the task's waker. Once is enough: a connection stays in the task it was spawned in.
    pub(super) fn attend(&self, cx: &Context<'_>) {
        self.waker.get_or_init(|| cx.waker().clone());
    }
}

/// A request in progress, until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.settled.store(self.0.reads.load(Ordering::Relaxed), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
