use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
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
    writes: AtomicU32,
    /// Requests that have begun.
    requests: AtomicU32,
    /// Requests whose handler has not answered yet.
    in_flight: AtomicU32,
    /// `reads` when the last handler ended: more since then means that the next request's head has begun.
    settled: AtomicU32,
    multiplexed: AtomicU8,
    order: AtomicU8,
    waker: OnceLock<Waker>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            reads: AtomicU32::new(0),
            writes: AtomicU32::new(0),
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

    pub(super) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn began(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        self.settled.store(self.reads.load(Ordering::Relaxed), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
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
        let busy = self.in_flight.load(Ordering::Relaxed) > 0;
        let between = self.multiplexed.load(Ordering::Relaxed) == 1;
        let moved = reads.wrapping_add(self.writes.load(Ordering::Relaxed));
        Observation {
            busy,
            head_begun: !busy && !between && reads != self.settled.load(Ordering::Relaxed),
            used: if between { self.requests.load(Ordering::Relaxed) } else { moved },
            moved,
        }
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
