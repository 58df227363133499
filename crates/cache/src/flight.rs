//! Single flight: of all that ask for one key at a time, one computes and the others wait for it.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Key;
use crate::entry::Entry;

/// What is being computed, by key.
///
/// A flight is in the table as long as its leader has its [`Lead`]. Whoever finishes publishes to all that wait; a lead that is
/// dropped, for whatever reason, goes to the first that still waits, and out of the table if nobody does.
///
/// The table has one lock, so that all rows of a request are joined in one moment: of requests that are the same, one leads
/// all of them.
///
/// Whoever has a lower rank than a flight computes for itself, beside its leader, and tells all that wait if it is the first to
/// finish.
pub(crate) struct Flights {
    flights: Mutex<HashMap<Key, Flight>>,
    /// The number of the next one.
    next_number: AtomicU64,
}

struct Flight {
    /// Tells it from others of its key, of which one may begin while who was overtaken in this one still computes.
    number: u64,
    waiting: Vec<Waiting>,
    /// The lowest of those that compute.
    rank: u64,
}

type Waiting = oneshot::Sender<News>;

/// What a follower is told.
pub(crate) enum News {
    /// The leader has finished.
    Landed(Arc<Entry>),
    /// The leader has gone: it is this one's turn.
    Lead(Lead),
}

/// Which part a caller has.
pub(crate) enum Joined {
    Lead(Lead),
    Follow(oneshot::Receiver<News>),
}

impl Flights {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { flights: Mutex::default(), next_number: AtomicU64::new(0) })
    }

    /// Of each key, leads its flight, if there is none, or none of this rank or a lower one, or waits for it; all in one moment.
    pub(crate) fn join(self: &Arc<Self>, keys: &[Key], rank: u64) -> Vec<Joined> {
        let mut flights = self.flights.lock();
        let join = |key: &Key| match flights.entry(*key) {
            hash_map::Entry::Vacant(flight) => {
                let number = flight.insert(self.begun(rank)).number;
                Joined::Lead(self.lead_of(*key, number, true))
            }
            hash_map::Entry::Occupied(mut flight) if rank < flight.get().rank => {
                flight.get_mut().rank = rank;
                Joined::Lead(self.lead_of(*key, flight.get().number, false))
            }
            hash_map::Entry::Occupied(mut flight) => {
                let waiting = &mut flight.get_mut().waiting;
                // Those that went away are forgotten here, so that a long flight does not collect them.
                if waiting.len() == waiting.capacity() {
                    waiting.retain(|follower| !follower.is_closed());
                }
                let (news, follower) = oneshot::channel();
                waiting.push(news);
                Joined::Follow(follower)
            }
        };
        keys.iter().map(join).collect()
    }

    /// Leads the flight of a key if there is none.
    pub(crate) fn lead(self: &Arc<Self>, key: Key) -> Option<Lead> {
        let number = match self.flights.lock().entry(key) {
            hash_map::Entry::Occupied(_) => return None,
            // Nobody overtakes it.
            hash_map::Entry::Vacant(flight) => flight.insert(self.begun(0)).number,
        };
        Some(self.lead_of(key, number, true))
    }

    fn begun(&self, rank: u64) -> Flight {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        Flight { number, waiting: Vec::new(), rank }
    }

    fn lead_of(self: &Arc<Self>, key: Key, flight: u64, armed: bool) -> Lead {
        Lead { key, flight, flights: Arc::clone(self), armed }
    }

    /// The next that still waits; takes the flight out of the table if there is none.
    fn next(&self, key: &Key, number: u64) -> Option<Waiting> {
        let mut flights = self.flights.lock();
        let waiting = &mut flights.get_mut(key).filter(|flight| flight.number == number)?.waiting;
        // In the order in which they came.
        waiting.retain(|follower| !follower.is_closed());
        if waiting.is_empty() {
            flights.remove(key);
            return None;
        }
        Some(waiting.remove(0))
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.flights.lock().len()
    }
}

/// The part of the one that computes.
pub(crate) struct Lead {
    key: Key,
    /// The number of the flight.
    flight: u64,
    flights: Arc<Flights>,
    /// Whether the flight is this one's to hand on. If not, another leads it, whom this one is to overtake.
    armed: bool,
}

impl Lead {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether another leads the flight, too.
    pub(crate) fn overtakes(&self) -> bool {
        !self.armed
    }

    /// Tells all that wait, and ends the flight. What is to be found by those who come later must be in the memory tier by now.
    pub(crate) fn land(mut self, entry: &Arc<Entry>) {
        self.armed = false;
        let ended = match self.flights.flights.lock().entry(self.key) {
            hash_map::Entry::Occupied(flight) if flight.get().number == self.flight => Some(flight.remove()),
            // It was overtaken.
            _ => None,
        };
        for follower in ended.into_iter().flat_map(|flight| flight.waiting) {
            // One that has gone needs no news.
            let _ = follower.send(News::Landed(Arc::clone(entry)));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        while let Some(follower) = self.flights.next(&self.key, self.flight) {
            let lead = self.flights.lead_of(self.key, self.flight, true);
            match follower.send(News::Lead(lead)) {
                Ok(()) => return,
                // It went away in this moment. Its lead must not pass the turn on, too: this loop does.
                Err(News::Lead(mut lead)) => lead.armed = false,
                Err(News::Landed(_)) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
