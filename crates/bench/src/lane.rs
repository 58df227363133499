use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::client::{Client, Keep};
use crate::deck::{Dealer, Deck, Drawn};
use crate::failure::{Failure, FailureKind};
use crate::gate::Gate;
use crate::pacer::Pacer;
use crate::tally::{Answered, Tally, Timing};
use crate::verify::Verify;

/// How long a closed loop rests after a request that found no server, so that it does not spin.
const CONNECT_REST: Duration = Duration::from_millis(10);

/// What one thread counts, shared with whoever reads it.
pub(crate) struct Lane {
    tally: Mutex<Tally>,
    /// Requests in flight.
    busy: AtomicUsize,
    /// The next intended send time, in nanoseconds after `origin`; `u64::MAX` while there is none.
    next_due: AtomicU64,
    origin: Instant,
}

impl Lane {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            tally: Mutex::default(),
            busy: AtomicUsize::new(0),
            next_due: AtomicU64::new(u64::MAX),
            origin: Instant::now(),
        })
    }

    /// Takes what was counted since the last call.
    pub(crate) fn take(&self) -> Tally {
        std::mem::take(&mut self.tally.lock())
    }

    /// Requests in flight.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Tells the next intended send time.
    pub(crate) fn set_next_due(&self, due: Option<Instant>) {
        let nanoseconds = due.map_or(u64::MAX, |due| {
            u64::try_from(due.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
        });
        self.next_due.store(nanoseconds, Ordering::Relaxed);
    }

    /// How long ago the oldest request should have been sent that has not been.
    pub(crate) fn behind(&self, now: Instant) -> Duration {
        let due = Duration::from_nanos(self.next_due.load(Ordering::Relaxed));
        now.saturating_duration_since(self.origin).saturating_sub(due)
    }
}

/// One request at a time, again and again.
pub(crate) struct Slot {
    pub(crate) client: Client,
    pub(crate) deck: Arc<Deck>,
    pub(crate) dealer: Dealer,
    pub(crate) lane: Arc<Lane>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) verify: Verify,
}

impl Slot {
    /// Sends the next request as soon as the last is answered.
    pub(crate) async fn closed_loop(mut self) {
        while self.gate.opened().await.is_some() {
            if self.once(None).await == Some(FailureKind::Connect) {
                tokio::time::sleep(CONNECT_REST).await;
            }
        }
    }

    /// Sends requests when `pacer` says.
    pub(crate) async fn open_loop(mut self, pacer: Arc<tokio::sync::Mutex<Pacer>>) {
        loop {
            // A free slot waits for its turn at the pacer, and the one whose turn it is for the time.
            let due = pacer.lock().await.next(&self.gate, &self.lane).await;
            match due {
                Some(due) => self.once(Some(due)).await,
                None => return,
            };
        }
    }

    async fn once(&mut self, intended: Option<Instant>) -> Option<FailureKind> {
        let Drawn { request, is_repeat } = self.dealer.next(&self.deck);
        let keep = match self.verify {
            Verify::Nothing => Keep::Nothing,
            _ => Keep::Body,
        };
        self.lane.busy.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let answer = self.client.call(request, keep).await;
        let timing = Timing {
            service: began.elapsed(),
            late: intended.map(|intended| began.saturating_duration_since(intended)),
        };
        self.lane.busy.fetch_sub(1, Ordering::Relaxed);
        let checked = answer.and_then(|answer| match self.verify.check(&answer) {
            Ok(()) => Ok((answer.received_bytes, answer.cache)),
            Err(message) => Err(Failure::new(FailureKind::Undecodable, message)),
        });
        let mut tally = self.lane.tally.lock();
        match checked {
            Ok((received_bytes, cache)) => {
                let sent_bytes = request.len();
                let in_time = self.deadline.is_none_or(|deadline| timing.total() <= deadline);
                tally.succeeded(Answered { timing, sent_bytes, received_bytes, is_repeat, cache, in_time });
                None
            }
            Err(failure) => {
                let kind = failure.kind;
                tally.failed(failure);
                Some(kind)
            }
        }
    }
}
