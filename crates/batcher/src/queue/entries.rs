use std::collections::BTreeMap;
use std::time::Instant;

use smallvec::SmallVec;

use super::shares::{Share, Tag};

/// "No slot" in a link.
pub(super) const NONE: u32 = u32::MAX;

/// Slots that stay allocated when the queue runs empty, so that a burst's memory is given back.
const KEPT_SLOTS: usize = 1024;

/// The list that an entry is chained into; each entry is in one list of every kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chain {
    /// All entries, in the order they came.
    Arrival = 0,
    /// The entries of one lane.
    Lane = 1,
    /// The entries of one lane and one class.
    Class = 2,
}

/// Where an entry stands: lanes are served in their order, delayed ones last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) delayed: bool,
    pub(super) level: u32,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

/// An entry's neighbours, by kind of list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links([Link; 3]);

impl Links {
    /// Of an entry that is in no list yet.
    pub(super) const UNLINKED: Links = Links([Link { prev: NONE, next: NONE }; 3]);
}

/// One waiting request.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) serial: u64,
    pub(super) rows: usize,
    pub(super) lane: LaneKey,
    /// Index into the table of classes.
    pub(super) class: u32,
    pub(super) enqueued: Instant,
    /// When it is looked at next by `expire`: the earlier of timeout and deadline.
    pub(super) expires: Option<Instant>,
    pub(super) deadline: Option<Instant>,
    /// Its share of its level, where flows are told apart.
    pub(super) share: Option<Share>,
    /// Whether a timeout delays it rather than rejects it.
    pub(super) delays: bool,
    pub(super) payload: T,
    pub(super) links: Links,
}

/// What `rows` count as: an empty request still takes a place.
pub(super) fn weight(rows: usize) -> usize {
    rows.max(1)
}

/// The entries, in slots that are used again, chained by slot numbers: every list operation is O(1) and allocates
/// nothing.
#[derive(Debug)]
pub(super) struct Entries<T> {
    slots: Vec<Option<Entry<T>>>,
    free: Vec<u32>,
}

impl<T> Entries<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry<T>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The entry of a slot that a list or a live ticket names.
    pub(super) fn at(&self, slot: u32) -> &Entry<T> {
        self.get(slot).expect("invariant: lists hold used slots only")
    }

    pub(super) fn at_mut(&mut self, slot: u32) -> &mut Entry<T> {
        self.slots[slot as usize].as_mut().expect("invariant: lists hold used slots only")
    }

    /// Stores an entry, in no list yet. There must be fewer than [`NONE`] of them.
    pub(super) fn insert(&mut self, entry: Entry<T>) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(entry);
            return slot;
        }
        let slot =
            u32::try_from(self.slots.len()).expect("invariant: the queue refuses more than NONE entries");
        self.slots.push(Some(entry));
        slot
    }

    /// Takes an entry out that is in no list any more.
    pub(super) fn remove(&mut self, slot: u32) -> Entry<T> {
        let entry = self.slots[slot as usize].take().expect("invariant: lists hold used slots only");
        self.free.push(slot);
        if self.free.len() == self.slots.len() && self.slots.len() > KEPT_SLOTS {
            self.slots.clear();
            self.slots.shrink_to(KEPT_SLOTS);
            self.free.clear();
            self.free.shrink_to(KEPT_SLOTS);
        }
        entry
    }

    fn link(&mut self, slot: u32, chain: Chain) -> &mut Link {
        &mut self.at_mut(slot).links.0[chain as usize]
    }

    pub(super) fn next(&self, slot: u32, chain: Chain) -> u32 {
        self.at(slot).links.0[chain as usize].next
    }
}

/// A doubly linked list of slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    first: u32,
    last: u32,
    len: usize,
    /// An empty request counts as one.
    rows: usize,
}

impl List {
    pub(super) const EMPTY: List = List { first: NONE, last: NONE, len: 0, rows: 0 };

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn append<T>(&mut self, entries: &mut Entries<T>, chain: Chain, slot: u32) {
        *entries.link(slot, chain) = Link { prev: self.last, next: NONE };
        match self.last {
            NONE => self.first = slot,
            last => entries.link(last, chain).next = slot,
        }
        self.last = slot;
        self.len += 1;
        self.rows += weight(entries.at(slot).rows);
    }

    pub(super) fn unlink<T>(&mut self, entries: &mut Entries<T>, chain: Chain, slot: u32) {
        let Link { prev, next } = *entries.link(slot, chain);
        match prev {
            NONE => self.first = next,
            prev => entries.link(prev, chain).next = next,
        }
        match next {
            NONE => self.last = prev,
            next => entries.link(next, chain).prev = prev,
        }
        self.len -= 1;
        self.rows -= weight(entries.at(slot).rows);
    }
}

/// The entries of one lane in the order in which they are served: as they came, or by start tags where flows are told apart.
#[derive(Debug)]
struct Line {
    /// Empty but for its counts where `order` is there.
    list: List,
    order: Option<BTreeMap<(Tag, u64), u32>>,
}

impl Line {
    const EMPTY: Line = Line { list: List::EMPTY, order: None };

    fn first(&self) -> Option<u32> {
        match &self.order {
            None => self.list.first(),
            Some(order) => order.first_key_value().map(|(_, slot)| *slot),
        }
    }

    fn last(&self) -> Option<u32> {
        match &self.order {
            None => (self.list.last != NONE).then_some(self.list.last),
            Some(order) => order.last_key_value().map(|(_, slot)| *slot),
        }
    }

    fn append<T>(&mut self, entries: &mut Entries<T>, chain: Chain, slot: u32) {
        let (key, is_delayed) = (order_of(entries.at(slot)), entries.at(slot).lane.delayed);
        // What is delayed goes in the order in which it was.
        if self.order.is_none() && key.0 > 0 && !is_delayed {
            let known: &Entries<T> = entries;
            let before = slots_of(&self.list, known, chain).map(|slot| (order_of(known.at(slot)), slot));
            self.order = Some(before.collect());
            (self.list.first, self.list.last) = (NONE, NONE);
        }
        match &mut self.order {
            None => self.list.append(entries, chain, slot),
            Some(order) => {
                order.insert(key, slot);
                self.list.len += 1;
                self.list.rows += weight(entries.at(slot).rows);
            }
        }
    }

    fn unlink<T>(&mut self, entries: &mut Entries<T>, chain: Chain, slot: u32) {
        match &mut self.order {
            None => self.list.unlink(entries, chain, slot),
            Some(order) => {
                order.remove(&order_of(entries.at(slot)));
                self.list.len -= 1;
                self.list.rows -= weight(entries.at(slot).rows);
            }
        }
    }

    fn slots<'a, T>(&'a self, entries: &'a Entries<T>, chain: Chain) -> impl Iterator<Item = u32> {
        let ordered = self.order.iter().flat_map(|order| order.values().copied());
        ordered.chain(slots_of(&self.list, entries, chain))
    }
}

/// By what entries of a lane are ordered.
fn order_of<T>(entry: &Entry<T>) -> (Tag, u64) {
    (entry.share.map_or(0, |share| share.start.get()), entry.serial)
}

fn slots_of<T>(list: &List, entries: &Entries<T>, chain: Chain) -> impl Iterator<Item = u32> {
    let step = move |slot: &u32| Some(entries.next(*slot, chain)).filter(|next| *next != NONE);
    std::iter::successors(list.first(), step)
}

/// The lists of those lanes that have entries, in the order in which they are served.
///
/// A sorted vector: lanes are few (two for each priority level in use), and it keeps its memory when they run empty.
#[derive(Debug)]
pub(super) struct Lanes {
    chain: Chain,
    lists: SmallVec<[(LaneKey, Line); 1]>,
}

impl Lanes {
    pub(super) fn new(chain: Chain) -> Self {
        Self { chain, lists: SmallVec::new() }
    }

    /// The entry to be served first.
    pub(super) fn first(&self) -> Option<u32> {
        self.lists.first().and_then(|(_, line)| line.first())
    }

    /// Entries in the lane.
    pub(super) fn len_of(&self, key: LaneKey) -> usize {
        match self.find(key) {
            Ok(index) => self.lists[index].1.list.len,
            Err(_) => 0,
        }
    }

    /// Rows and entries of the lanes that are served no later than this one.
    pub(super) fn up_to(&self, key: LaneKey) -> (usize, usize) {
        let lanes = self.lists.iter().take_while(|(lane, _)| *lane <= key);
        lanes.fold((0, 0), |(rows, entries), (_, line)| (rows + line.list.rows, entries + line.list.len))
    }

    /// Rows in lanes of a lower priority than this level.
    pub(super) fn rows_below(&self, level: u32) -> usize {
        self.below(level).map(|(_, line)| line.list.rows).sum()
    }

    /// The youngest entry of the lowest priority, if that is lower than this level.
    pub(super) fn youngest_below(&self, level: u32) -> Option<u32> {
        // Delayed entries are older than others.
        let lowest = self.below(level).max_by_key(|(lane, _)| (lane.level, !lane.delayed));
        lowest.and_then(|(_, line)| line.last())
    }

    /// The entry of a lane that is served last.
    pub(super) fn last_of(&self, key: LaneKey) -> Option<u32> {
        self.find(key).ok().and_then(|index| self.lists[index].1.last())
    }

    /// The entries of a lane from the last one on, where they are ordered by start tags.
    pub(super) fn backwards(&self, key: LaneKey) -> impl Iterator<Item = u32> {
        let line = self.find(key).ok().map(|index| &self.lists[index].1);
        let order = line.and_then(|line| line.order.as_ref());
        order.into_iter().flat_map(|order| order.values().rev().copied())
    }

    /// Rows and entries of a lane.
    pub(super) fn count_of(&self, key: LaneKey) -> (usize, usize) {
        self.find(key)
            .map_or((0, 0), |index| (self.lists[index].1.list.rows, self.lists[index].1.list.len))
    }

    fn below(&self, level: u32) -> impl Iterator<Item = &(LaneKey, Line)> {
        self.lists.iter().filter(move |(lane, _)| lane.level > level)
    }

    /// The first entry of each lane, in the order of the lanes.
    pub(super) fn heads(&self) -> impl Iterator<Item = u32> {
        self.lists.iter().filter_map(|(_, line)| line.first())
    }

    /// All entries in the order in which they are served.
    pub(super) fn walk<'a, T>(&'a self, entries: &'a Entries<T>) -> impl Iterator<Item = &'a Entry<T>> {
        self.slots(entries).map(|slot| entries.at(slot))
    }

    /// Their slots.
    pub(super) fn slots<'a, T>(&'a self, entries: &'a Entries<T>) -> impl Iterator<Item = u32> {
        self.lists.iter().flat_map(move |(_, line)| line.slots(entries, self.chain))
    }

    /// Puts an entry at the end of its lane.
    pub(super) fn append<T>(&mut self, entries: &mut Entries<T>, slot: u32) {
        let key = entries.at(slot).lane;
        let index = self.find(key).unwrap_or_else(|index| {
            self.lists.insert(index, (key, Line::EMPTY));
            index
        });
        self.lists[index].1.append(entries, self.chain, slot);
    }

    /// Takes an entry out of its lane.
    pub(super) fn unlink<T>(&mut self, entries: &mut Entries<T>, slot: u32) {
        let index = self.find(entries.at(slot).lane).expect("invariant: an entry's lane has a list");
        let line = &mut self.lists[index].1;
        line.unlink(entries, self.chain, slot);
        if line.list.len == 0 {
            self.lists.remove(index);
        }
    }

    fn find(&self, key: LaneKey) -> Result<usize, usize> {
        self.lists.binary_search_by_key(&key, |(lane, _)| *lane)
    }
}
