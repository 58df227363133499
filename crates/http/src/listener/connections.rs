use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ListenerOptions;
use super::activity::Activity;
use super::idle::{IdleLimits, IdleWatch};

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
    open: Mutex<Open>,
    empty: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
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
    pub(super) activity: Arc<Activity>,
}

impl Connections {
    pub(super) fn new(options: &ListenerOptions) -> Arc<Self> {
        Arc::new(Self { limit: options.max_connections, open: Mutex::default(), empty: Notify::new() })
    }

    /// A place for one more connection, unless there are as many as may be.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open.lock();
        if open.entries.len() >= self.limit {
            return None;
        }
        let activity = Arc::new(Activity::default());
        activity.order(open.order);
        let key = open.next;
        open.next += 1;
        let entry = Entry { activity: Arc::clone(&activity), idle: IdleWatch::default() };
        open.entries.insert(key, entry);
        drop(open);
        Some(Place { connections: Arc::clone(self), key, activity })
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
            match entry.idle.look(entry.activity.observe(), elapsed, limits) {
                Order::GoOn => {}
                order => entry.activity.order(order),
            }
        }
    }
}
