mod classes;
mod entries;
mod expiry;
mod in_time;
mod mix;
#[cfg(test)]
mod model_tests;
mod overload;
mod shares;
#[cfg(test)]
mod shares_tests;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::{
    Batch, BatchPolicy, Decision, Member, Offer, QueueLimit, Refused, RefusedReason, ShapeBucket, Ticket,
    TimeoutAction,
};
use classes::Classes;
use entries::{Chain, Entries, Entry, LaneKey, Lanes, Links, List, weight};
use expiry::Expiry;
pub use mix::Mix;
use shares::Shares;

/// The longest delay that is honoured, so that adding it to an instant can't overflow.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// How many other classes are examined for a full batch while the first in line waits for company.
const LOOK_AHEAD: usize = 8;

/// The waiting requests of one model, and the decision which of them run next.
///
/// # Order
/// Lanes are served in this order: priority level 1, 2, … and then the delayed requests, again by level. Within a lane, first
/// come, first served, unless requests name flows ([`crate::Flow`]): then each flow that has requests waiting gets rows in
/// proportion to its weight, and within a flow, first come, first served. The first request in this order is the *head*, and
/// fixes the class of the next batch. Further requests of that class join it in the same order until one does not fit; requests
/// of other classes are stepped over, and lose nothing by it: the batch takes one instance, which the head was due anyway. Once a
/// request is the head, the next batch is of its class, so within a level a request waits for at most as many batches as there
/// were requests before it.
///
/// A lower level waits as long as higher ones have work, and delayed requests wait for everybody, as in Triton.
///
/// # When a batch goes
/// With `max_queue_delay` zero, at once. Otherwise as soon as its rows make a preferred size exactly (the largest that can be
/// made), or reach the largest preferred size, or no further request of the class fits, or any request has waited the delay.
/// While the head waits for company, a request of another class that has waited the delay goes first, and so does another class's
/// full batch; for the latter at most eight classes are examined. Past the delay a batch takes all that fits, preferred or not.
///
/// # Cost
/// [`Self::poll`] does not scan the queue: the requests of a class are chained, so that it touches those that it takes,
/// and at most `max_batch_size` in each of nine classes to see that it must wait. What else is waiting, however mixed,
/// does not matter. Requests may be up to 2³² - 1.
///
/// # Deadlines
/// Whoever knows what batches cost asks [`Self::poll_in_time`] instead: it gives no place to requests that would be
/// answered too late.
///
/// # Overload
/// [`Self::push`] refuses what there is no room for; [`Self::push_displacing`] makes room, if it can, by taking out
/// requests of lower priority.
///
/// # Time
/// A `now` before the latest that the queue has seen counts as the latest.
#[derive(Debug)]
pub struct BatchQueue<T> {
    policy: BatchPolicy,
    entries: Entries<T>,
    arrivals: List,
    lanes: Lanes,
    classes: Classes,
    expiry: Expiry,
    shares: Shares,
    rows: usize,
    mix: Mix,
    serial: u64,
    sequence: u64,
    latest: Option<Instant>,
}

/// What waits in a queue, of all levels, as far as it is work.
#[derive(Debug, Clone, Copy)]
pub struct Backlog<'a> {
    /// Requests.
    pub requests: usize,
    /// Their rows.
    pub rows: usize,
    /// The same by the size of the rows.
    pub mix: &'a Mix,
    /// Rows of a batch at most; 1 where requests do not share batches, however many rows they have.
    pub max_batch_size: usize,
}

/// What there is to do.
enum Choice {
    Nothing,
    /// The head, which is of this class, waits for company.
    Wait {
        class: u32,
        until: Instant,
    },
    Go(Plan),
}

/// The batch that a class can make now.
struct Plan {
    class: u32,
    members: usize,
    /// Nothing is won by waiting: it is of a preferred size or beyond them all, or can't grow.
    complete: bool,
}

impl<T> BatchQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(mut policy: BatchPolicy) -> Self {
        let max = policy.max_batch_size;
        policy.preferred_batch_sizes.retain(|size| (1..=max).contains(size));
        policy.preferred_batch_sizes.sort_unstable();
        policy.max_queue_delay = policy.max_queue_delay.min(LONGEST_DELAY);
        let smallest_complete = policy.preferred_batch_sizes.first().copied().unwrap_or(max);
        Self {
            policy,
            entries: Entries::new(),
            arrivals: List::EMPTY,
            lanes: Lanes::new(Chain::Lane),
            classes: Classes::new(smallest_complete),
            expiry: Expiry::new(),
            shares: Shares::default(),
            rows: 0,
            mix: Mix::default(),
            serial: 0,
            sequence: 0,
            latest: None,
        }
    }

    /// Puts a request in the queue.
    ///
    /// # Errors
    /// Gives the payload back with [`RefusedReason::QueueFull`] where a limit is met, and with
    /// [`RefusedReason::TooManyRows`] where the request alone is more than a batch.
    pub fn push(&mut self, offer: Offer<T>, now: Instant) -> Result<Ticket, Refused<T>> {
        let now = self.tick(now);
        let level = self.policy.level(offer.priority);
        if let Err(reason) = self.admit(offer.rows, level) {
            let payload = offer.payload;
            return Err(Refused { payload, reason });
        }
        let queue_policy = self.policy.queue_policy(level);
        let times_out = queue_policy.timeout(offer.timeout).and_then(|timeout| now.checked_add(timeout));
        let entry = Entry {
            share: self.shares.enter(level, offer.flow, offer.rows),
            serial: self.serial,
            rows: offer.rows,
            lane: LaneKey { delayed: false, level },
            enqueued: now,
            expires: [times_out, offer.deadline].into_iter().flatten().min(),
            deadline: offer.deadline,
            delays: queue_policy.timeout_action == TimeoutAction::Delay,
            class: self.classes.intern(offer.class),
            payload: offer.payload,
            links: Links::UNLINKED,
        };
        Ok(self.insert(entry))
    }

    /// Takes a request out. `None` if it is not waiting any more.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        self.entries.get(ticket.slot).filter(|entry| entry.serial == ticket.serial)?;
        let entry = self.detach(ticket.slot);
        self.expiry.settle(&self.entries);
        Some(entry.payload)
    }

    /// Appends to `expired` what is past its deadline, or past its timeout and to be rejected; puts what is past its
    /// timeout and to be delayed behind everything that is not. To be called before each [`Self::poll`], which does not
    /// look at expiry; cheap when nothing expires.
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<T>) {
        let now = self.tick(now);
        while let Some(slot) = self.expiry.due(now) {
            let entry = self.entries.at(slot);
            let dead = entry.deadline.is_some_and(|deadline| deadline <= now);
            if entry.delays && !dead {
                self.delay(slot);
            } else {
                let entry = self.detach(slot);
                expired.push(entry.payload);
            }
            self.expiry.settle(&self.entries);
        }
    }

    /// When [`Self::expire`] has something to do next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiry.next()
    }

    /// Decides what a free instance should do.
    pub fn poll(&mut self, now: Instant) -> Decision<T> {
        let now = self.tick(now);
        match self.choose(now) {
            Choice::Nothing => Decision::Idle,
            Choice::Wait { until, .. } => Decision::WaitUntil(until),
            Choice::Go(plan) => Decision::Dispatch(self.dispatch(&plan)),
        }
    }

    fn choose(&self, now: Instant) -> Choice {
        let (Some(head), Some(oldest)) = (self.lanes.first(), self.arrivals.first()) else {
            return Choice::Nothing;
        };
        let class = self.entries.at(head).class;
        if !self.policy.merges() {
            let (members, complete) = (1, true);
            return Choice::Go(Plan { class, members, complete });
        }
        if self.policy.max_queue_delay.is_zero() {
            return Choice::Go(self.plan(class, false));
        }
        let late = Some(self.entries.at(oldest).class).filter(|_| self.due(oldest) <= now);
        let ready = if late == Some(class) || self.is_late(class, now) {
            Some(self.plan(class, true))
        } else {
            self.complete(class)
                .or_else(|| late.map(|class| self.plan(class, true)))
                .or_else(|| self.large(class))
        };
        match ready {
            Some(plan) => Choice::Go(plan),
            None => Choice::Wait { class, until: self.due(oldest) },
        }
    }

    /// Takes everything out, in the order it came.
    pub fn drain(&mut self) -> Vec<T> {
        let mut drained = Vec::with_capacity(self.len());
        while let Some(slot) = self.arrivals.first() {
            drained.push(self.detach(slot).payload);
        }
        self.expiry.settle(&self.entries);
        drained
    }

    /// Requests waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Rows waiting; a request of zero rows counts as one.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What is waiting, of all levels, by the size of its rows.
    #[must_use]
    pub fn mix(&self) -> &Mix {
        &self.mix
    }

    /// What is waiting, as far as it is work.
    #[must_use]
    pub fn backlog(&self) -> Backlog<'_> {
        let max_batch_size = if self.policy.merges() { self.policy.max_batch_size } else { 1 };
        Backlog { requests: self.len(), rows: self.rows, mix: &self.mix, max_batch_size }
    }

    /// Whether nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the request that has waited longest was pushed.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.arrivals.first().map(|slot| self.entries.at(slot).enqueued)
    }

    fn tick(&mut self, now: Instant) -> Instant {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(now);
        now
    }

    fn admit(&self, rows: usize, level: u32) -> Result<(), RefusedReason> {
        let max = self.policy.max_batch_size;
        if self.policy.merges() && rows > max {
            return Err(RefusedReason::TooManyRows { rows, max });
        }
        let full = |limit, what| Err(RefusedReason::QueueFull { limit, what });
        let limit = match self.policy.queue_policy(level).max_queue_size {
            0 => usize::MAX,
            limit => limit,
        };
        let lane = |delayed| self.lanes.len_of(LaneKey { delayed, level });
        if limit != usize::MAX && lane(false) + lane(true) >= limit {
            return full(limit, QueueLimit::Requests);
        }
        if self.len() >= entries::NONE as usize {
            return full(entries::NONE as usize, QueueLimit::Requests);
        }
        let limit = match self.policy.max_queued_rows {
            0 => usize::MAX,
            limit => limit,
        };
        match self.rows.checked_add(weight(rows)) {
            Some(total) if total <= limit => Ok(()),
            _ => full(limit, QueueLimit::Rows),
        }
    }

    fn insert(&mut self, entry: Entry<T>) -> Ticket {
        let serial = entry.serial;
        self.serial += 1;
        self.rows += weight(entry.rows);
        self.mix.add(self.bucket_of(entry.class), entry.rows);
        let slot = self.entries.insert(entry);
        self.arrivals.append(&mut self.entries, Chain::Arrival, slot);
        self.lanes.append(&mut self.entries, slot);
        self.classes.append(&mut self.entries, slot);
        self.expiry.add(&self.entries, slot);
        Ticket { serial, slot }
    }

    /// Takes an entry out of everything but the expiry heap, which is to be settled afterwards. It is not served.
    fn detach(&mut self, slot: u32) -> Entry<T> {
        self.remove(slot, false)
    }

    fn remove(&mut self, slot: u32, is_served: bool) -> Entry<T> {
        let bucket = self.bucket_of(self.entries.at(slot).class);
        self.arrivals.unlink(&mut self.entries, Chain::Arrival, slot);
        self.lanes.unlink(&mut self.entries, slot);
        self.classes.unlink(&mut self.entries, slot);
        let entry = self.entries.remove(slot);
        self.mix.take(bucket, entry.rows);
        self.expiry.forget(entry.expires);
        self.rows -= weight(entry.rows);
        if let Some(share) = entry.share {
            self.shares.left(entry.lane.level, (share, entry.rows), is_served);
        }
        entry
    }

    /// Puts an entry at the end of its level's delayed lane; only its deadline can expire it now.
    fn delay(&mut self, slot: u32) {
        self.lanes.unlink(&mut self.entries, slot);
        self.classes.unlink(&mut self.entries, slot);
        let entry = self.entries.at_mut(slot);
        self.expiry.forget(entry.expires);
        entry.lane.delayed = true;
        entry.expires = entry.deadline;
        self.lanes.append(&mut self.entries, slot);
        self.classes.append(&mut self.entries, slot);
        self.expiry.add(&self.entries, slot);
    }

    /// How large a class's rows are.
    fn bucket_of(&self, class: u32) -> ShapeBucket {
        self.classes.at(class).bucket()
    }

    /// When an entry has waited the delay.
    fn due(&self, slot: u32) -> Instant {
        self.entries.at(slot).enqueued + self.policy.max_queue_delay
    }

    /// Whether the first of any of the class's lanes has waited the delay. Entries behind it came later, but for delayed
    /// ones and other flows', which the oldest of all stands for.
    fn is_late(&self, class: u32, now: Instant) -> bool {
        let mut heads = self.classes.at(class).lanes.heads();
        heads.any(|slot| self.due(slot) <= now)
    }

    /// The class's batch, if nothing is won by waiting.
    fn complete(&self, class: u32) -> Option<Plan> {
        Some(self.plan(class, false)).filter(|plan| plan.complete)
    }

    /// Another class's complete batch: of those examined, the one whose first member would be served first.
    fn large(&self, waiting: u32) -> Option<Plan> {
        let others = self.classes.large().iter().filter(|class| **class != waiting);
        others.take(LOOK_AHEAD).filter_map(|class| self.complete(*class)).min_by_key(|plan| {
            let first = self.classes.at(plan.class).lanes.first();
            first.map(|slot| (self.entries.at(slot).lane, self.entries.at(slot).serial))
        })
    }

    /// The batch that the class makes now: the largest preferred size that the order of its entries makes exactly, or
    /// else (or `regardless` of preferred sizes) as many as fit.
    fn plan(&self, class: u32, regardless: bool) -> Plan {
        let preferred = match regardless {
            true => &[],
            false => self.policy.preferred_batch_sizes.as_slice(),
        };
        let max = self.policy.max_batch_size;
        let (mut rows, mut members, mut best, mut full) = (0, 0, None, false);
        for entry in self.classes.at(class).lanes.walk(&self.entries) {
            let total = rows + weight(entry.rows);
            full = total >= max;
            if total > max {
                break;
            }
            (rows, members) = (total, members + 1);
            if preferred.binary_search(&rows).is_ok() {
                best = Some(members);
            }
            if full {
                break;
            }
        }
        Plan {
            class,
            members: best.unwrap_or(members),
            complete: full || best.is_some() || preferred.last().is_some_and(|largest| rows >= *largest),
        }
    }

    /// Moves virtual time on to the first in line. What goes with it from further behind makes nobody wait who comes now.
    fn advance(&mut self) {
        for head in self.lanes.heads() {
            let entry = self.entries.at(head);
            if let Some(share) = entry.share.filter(|_| !entry.lane.delayed) {
                self.shares.advance(entry.lane.level, share);
            }
        }
    }

    fn dispatch(&mut self, plan: &Plan) -> Batch<T> {
        self.advance();
        let bucket = self.bucket_of(plan.class);
        let mut members = SmallVec::with_capacity(plan.members);
        let mut rows = 0;
        for _ in 0..plan.members {
            let slot = self
                .classes
                .at(plan.class)
                .lanes
                .first()
                .expect("invariant: a plan counts entries of its class");
            let entry = self.remove(slot, true);
            rows += entry.rows;
            members.push(Member { payload: entry.payload, rows: entry.rows, enqueued: entry.enqueued });
        }
        self.expiry.settle(&self.entries);
        let sequence = self.sequence;
        self.sequence += 1;
        Batch { members, rows, bucket, sequence }
    }
}
