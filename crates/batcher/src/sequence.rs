mod decision;
#[cfg(test)]
mod model_tests;
mod offer;
mod policy;
mod ready;
mod records;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

pub use decision::{RunEnd, SequenceBatch, SequenceDecision, SequenceMember};
pub use offer::{SequenceOffer, SequenceRefused, SequenceRefusedReason, SequenceTicket};
pub use policy::{SequencePolicy, SequenceStrategy};
use ready::{Choice, Ready};
use records::{Activity, Entry, Place, Record, Records};
use slots::Slots;

/// Longer than any sequence is idle, and short enough that adding it to an instant can't overflow.
const LONGEST_IDLE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The sequences of one stateful model: which have a slot of an instance, which wait for one, and which requests run next.
///
/// # A sequence
/// begins with a request that starts it and gets a slot of the instance with the fewest sequences, the lowest there is. Where
/// no slot is free, it waits in the backlog, in the order of the starts. Its requests run on that instance in the order they
/// came, one at a time. It ends, and its slot is free, when its `end` has run, or when it has been idle for `max_idle`: then the
/// next request needs to start it.
///
/// A `start` on an id that is open runs after what is waiting of that id, in the same slot; the sequence before it is over
/// without an end. After an `end`, a `start` of the same id is a new sequence, which waits for a slot like any other.
///
/// # What is given up
/// A sequence whose start does not run, because it is cancelled or fails, can't go on: what waits of it is handed back, and its
/// next request is refused. The same goes for all sequences of an instance that has lost its state. A request in the midst
/// of a sequence that is cancelled or fails leaves the sequence open. A cancelled `end` ends it all the same.
///
/// # Cost
/// O(log n) per request, and O(instances) for a start; under [`SequenceStrategy::Direct`], [`Self::poll`] looks at each ready
/// slot of the instance.
///
/// # Time
/// A `now` before the latest that the queue has seen counts as the latest.
#[derive(Debug)]
pub struct SequenceQueue<K, T> {
    policy: SequencePolicy,
    records: Records<K, T>,
    instances: Vec<Instance>,
    /// Sequences that wait for a slot, by the serial number of their start.
    backlog: BTreeMap<u64, u32>,
    idle: BTreeSet<(Instant, u32)>,
    waiting: usize,
    serial: u64,
    latest: Option<Instant>,
}

/// One instance of the model.
#[derive(Debug)]
struct Instance {
    slots: Slots,
    ready: Ready,
    running: SmallVec<[usize; 1]>,
}

impl<K: Clone + Eq + Hash, T> SequenceQueue<K, T> {
    /// A queue without sequences.
    #[must_use]
    pub fn new(mut policy: SequencePolicy) -> Self {
        policy.instances = policy.instances.max(1);
        policy.slots = policy.slots.max(1);
        policy.max_idle = policy.max_idle.min(LONGEST_IDLE);
        let instance = || Instance {
            slots: Slots::new(policy.slots),
            ready: Ready::new(&policy.strategy, policy.slots),
            running: SmallVec::new(),
        };
        Self {
            instances: (0..policy.instances).map(|_| instance()).collect(),
            records: Records::new(),
            backlog: BTreeMap::new(),
            idle: BTreeSet::new(),
            waiting: 0,
            serial: 0,
            latest: None,
            policy,
        }
    }

    /// Puts a request behind those of its sequence.
    ///
    /// # Errors
    /// Gives the payload back with [`SequenceRefusedReason::OfAnother`] where the sequence is somebody else's, with
    /// [`SequenceRefusedReason::NotStarted`] where it is not open and the request does not start it, and with
    /// [`SequenceRefusedReason::QueueFull`] where the bound is met.
    pub fn push(
        &mut self,
        offer: SequenceOffer<K, T>,
        now: Instant,
    ) -> Result<SequenceTicket, SequenceRefused<T>> {
        let now = self.tick(now);
        self.expire(now);
        let known = self.records.find(&offer.id);
        if let Err(reason) = self.admit(known, offer.owner, offer.start) {
            return Err(SequenceRefused { payload: offer.payload, reason });
        }
        let serial = self.serial;
        let entry = Entry {
            serial,
            start: offer.start,
            end: offer.end,
            class: offer.class,
            enqueued: now,
            payload: offer.payload,
        };
        let record = known.unwrap_or_else(|| self.begin(offer.id, offer.owner));
        let sequence = self.records.at_mut(record);
        sequence.entries.push_back(entry);
        sequence.open = !offer.end;
        self.serial += 1;
        self.waiting += 1;
        match known {
            None => self.fill_slots(now),
            Some(_) => self.settle(record, now),
        }
        Ok(SequenceTicket { serial, record })
    }

    /// Takes a request out; `None` if it is not waiting any more. If it would have started its sequence, what waits of that is
    /// handed back too, in `orphans`.
    pub fn cancel(&mut self, ticket: SequenceTicket, now: Instant, orphans: &mut Vec<T>) -> Option<T> {
        let now = self.tick(now);
        let sequence = self.records.get(ticket.record)?;
        let index = sequence.entries.binary_search_by_key(&ticket.serial, |entry| entry.serial).ok()?;
        if index == 0 {
            self.unmark(ticket.record);
        }
        let sequence = self.records.at_mut(ticket.record);
        let entry = sequence.entries.remove(index)?;
        self.waiting -= 1;
        if entry.start {
            self.give_up(ticket.record, index, orphans);
        }
        self.settle(ticket.record, now);
        self.fill_slots(now);
        Some(entry.payload)
    }

    /// Gives up sequences that have been idle for too long. To be called before each [`Self::poll`]; cheap when there are none.
    pub fn expire(&mut self, now: Instant) {
        let now = self.tick(now);
        while let Some(&(since, record)) = self.idle.first() {
            if since + self.policy.max_idle > now {
                break;
            }
            self.remove(record);
        }
        self.fill_slots(now);
    }

    /// When [`Self::expire`] has something to do next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.idle.first().map(|(since, _)| *since + self.policy.max_idle)
    }

    /// Decides what a free instance should do. An instance whose batch is not complete has nothing to do.
    pub fn poll(&mut self, instance: usize, now: Instant) -> SequenceDecision<T> {
        let now = self.tick(now);
        if !self.instances[instance].running.is_empty() {
            return SequenceDecision::Idle;
        }
        match self.instances[instance].ready.choose(now) {
            Choice::Idle => SequenceDecision::Idle,
            Choice::WaitUntil(at) => SequenceDecision::WaitUntil(at),
            Choice::Run(slots) => SequenceDecision::Dispatch(self.dispatch(instance, slots)),
        }
    }

    /// The batch that `instance` ran is done. What can't run any more is handed back in `orphans`.
    pub fn complete(&mut self, instance: usize, end: RunEnd<'_>, now: Instant, orphans: &mut Vec<T>) {
        let now = self.tick(now);
        let ran = std::mem::take(&mut self.instances[instance].running);
        if end.lost {
            self.lose(instance, now, orphans);
        }
        for slot in ran {
            let Some(record) = self.instances[instance].slots.owner(slot) else {
                continue;
            };
            let sequence = self.records.at_mut(record);
            let Activity::Running { start, end: ended } = sequence.activity else {
                continue;
            };
            sequence.activity = Activity::Idle(now);
            self.idle.insert((now, record));
            if start && !end.lost && end.failed.contains(&slot) {
                self.give_up(record, 0, orphans);
            }
            match ended && !self.records.at(record).entries.is_empty() {
                true => self.wait_again(record),
                false => self.settle(record, now),
            }
        }
        self.fill_slots(now);
    }

    /// Takes everything out, in the order it came, and ends all sequences; those that run do so when their batch is complete.
    pub fn drain(&mut self) -> Vec<T> {
        let mut drained = Vec::with_capacity(self.waiting);
        let indices: Vec<u32> = self.records.indices().collect();
        for record in indices {
            self.unmark(record);
            let sequence = self.records.at_mut(record);
            sequence.open = false;
            drained.extend(sequence.entries.drain(..).map(|entry| (entry.serial, entry.payload)));
            if !matches!(sequence.activity, Activity::Running { .. }) {
                self.remove(record);
            }
        }
        self.waiting = 0;
        drained.sort_unstable_by_key(|(serial, _)| *serial);
        drained.into_iter().map(|(_, payload)| payload).collect()
    }

    /// Requests waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Sequences that have a slot.
    #[must_use]
    pub fn active(&self) -> usize {
        self.records.len() - self.backlog.len()
    }

    /// Sequences that wait for a slot.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Whether a request waits that `instance` could run.
    #[must_use]
    pub fn has_ready(&self, instance: usize) -> bool {
        !self.instances[instance].ready.is_empty()
    }

    /// Whether a sequence has this slot of `instance`.
    #[must_use]
    pub fn is_taken(&self, instance: usize, slot: usize) -> bool {
        self.instances[instance].slots.owner(slot).is_some()
    }

    fn tick(&mut self, now: Instant) -> Instant {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(now);
        now
    }

    fn admit(&self, known: Option<u32>, owner: u64, start: bool) -> Result<(), SequenceRefusedReason> {
        if known.is_some_and(|record| self.records.at(record).owner != owner) {
            return Err(SequenceRefusedReason::OfAnother);
        }
        if !start && known.is_none_or(|record| !self.records.at(record).open) {
            return Err(SequenceRefusedReason::NotStarted);
        }
        let limit = match self.policy.max_queued_requests {
            0 => usize::MAX,
            limit => limit,
        };
        if self.waiting >= limit || (known.is_none() && self.records.next_index().is_none()) {
            return Err(SequenceRefusedReason::QueueFull { limit });
        }
        Ok(())
    }

    /// Makes a record for an id, at the end of the backlog.
    fn begin(&mut self, id: K, owner: u64) -> u32 {
        let place = Place::Backlog { serial: self.serial };
        let activity = Activity::Ready;
        let entries = VecDeque::with_capacity(1);
        let record = self.records.insert(Record { id, owner, entries, place, activity, open: true });
        self.backlog.insert(self.serial, record);
        record
    }

    /// Gives free slots to the sequences that have waited longest.
    fn fill_slots(&mut self, now: Instant) {
        while let Some((&serial, &record)) = self.backlog.first_key_value() {
            let free = self.instances.iter().enumerate().filter(|(_, instance)| instance.slots.has_room());
            let Some((instance, _)) = free.min_by_key(|(_, instance)| instance.slots.taken()) else {
                return;
            };
            let slot =
                self.instances[instance].slots.take(record).expect("invariant: looked for one with room");
            self.backlog.remove(&serial);
            let sequence = self.records.at_mut(record);
            sequence.place = Place::Slot { instance, slot };
            sequence.activity = Activity::Idle(now);
            self.idle.insert((now, record));
            self.settle(record, now);
        }
    }

    /// Puts a sequence where it belongs after what it has waiting has changed: among the ready, the idle, or nowhere.
    fn settle(&mut self, record: u32, now: Instant) {
        let sequence = self.records.at_mut(record);
        if sequence.entries.is_empty() && !sequence.open {
            if !matches!(sequence.activity, Activity::Running { .. }) {
                self.remove(record);
            }
            return;
        }
        let Place::Slot { instance, slot } = sequence.place else {
            self.keep_place(record);
            return;
        };
        match (sequence.activity, sequence.entries.front()) {
            (Activity::Idle(since), Some(entry)) => {
                let class = entry.class.clone();
                sequence.activity = Activity::Ready;
                self.idle.remove(&(since, record));
                self.instances[instance].ready.mark(slot, class, now);
            }
            (Activity::Ready, None) => {
                sequence.activity = Activity::Idle(now);
                self.idle.insert((now, record));
            }
            _ => {}
        }
    }

    /// Moves a sequence in the backlog back if its first request is another than it was.
    fn keep_place(&mut self, record: u32) {
        let sequence = self.records.at_mut(record);
        if let (Place::Backlog { serial: old }, Some(first)) = (sequence.place, sequence.entries.front()) {
            let serial = first.serial;
            sequence.place = Place::Backlog { serial };
            self.backlog.remove(&old);
            self.backlog.insert(serial, record);
        }
    }

    /// Takes the slot of a sequence that has ended: what waits of its id is of the next.
    fn wait_again(&mut self, record: u32) {
        self.leave(record);
        let sequence = self.records.at_mut(record);
        if let Some(first) = sequence.entries.front() {
            let serial = first.serial;
            sequence.place = Place::Backlog { serial };
            self.backlog.insert(serial, record);
        }
    }

    fn remove(&mut self, record: u32) {
        self.leave(record);
        self.records.remove(record);
    }

    /// Takes a sequence out of its slot or the backlog.
    fn leave(&mut self, record: u32) {
        self.unmark(record);
        let sequence = self.records.at_mut(record);
        if let Activity::Idle(since) = sequence.activity {
            self.idle.remove(&(since, record));
        }
        sequence.activity = Activity::Ready;
        match sequence.place {
            Place::Backlog { serial } => drop(self.backlog.remove(&serial)),
            Place::Slot { instance, slot } => self.instances[instance].slots.release(slot),
        }
    }

    /// Takes a sequence out of the ready ones of its instance, if it is there.
    fn unmark(&mut self, record: u32) {
        let sequence = self.records.at_mut(record);
        if let (Place::Slot { instance, slot }, Activity::Ready) = (sequence.place, sequence.activity) {
            let since = self.latest.expect("invariant: a sequence was pushed");
            sequence.activity = Activity::Idle(since);
            self.idle.insert((since, record));
            self.instances[instance].ready.unmark(slot);
        }
    }

    fn give_up(&mut self, record: u32, from: usize, orphans: &mut Vec<T>) {
        let before = orphans.len();
        self.records.at_mut(record).give_up(from, orphans);
        self.waiting -= orphans.len() - before;
    }

    /// Gives up all sequences of an instance, but for those that are about to start.
    fn lose(&mut self, instance: usize, now: Instant, orphans: &mut Vec<T>) {
        let owners: Vec<u32> = self.instances[instance].slots.owners().collect();
        for record in owners {
            if self.records.at(record).entries.front().is_some_and(|entry| entry.start) {
                continue;
            }
            self.unmark(record);
            self.give_up(record, 0, orphans);
            self.settle(record, now);
        }
    }

    fn dispatch(&mut self, instance: usize, mut slots: SmallVec<[usize; 1]>) -> SequenceBatch<T> {
        let direct = matches!(self.policy.strategy, SequenceStrategy::Direct { .. });
        let mut members = SmallVec::with_capacity(slots.len());
        if direct {
            slots.sort_unstable();
        }
        for (index, &slot) in slots.iter().enumerate() {
            let record = self.instances[instance].slots.owner(slot);
            let sequence = self.records.at_mut(record.expect("invariant: a ready slot is taken"));
            let entry = sequence.entries.pop_front().expect("invariant: a ready sequence has a request");
            let Entry { start, end, enqueued, payload, .. } = entry;
            sequence.activity = Activity::Running { start, end };
            let row = if direct { slot } else { index };
            members.push(SequenceMember { slot, row, start, end, payload, enqueued });
        }
        self.waiting -= members.len();
        let rows = if direct { self.instances[instance].slots.span() } else { members.len() };
        self.instances[instance].running = slots;
        SequenceBatch { members, rows }
    }
}
