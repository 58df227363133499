use std::time::Instant;

use smallvec::SmallVec;

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
}

impl List {
    pub(super) const EMPTY: List = List { first: NONE, last: NONE, len: 0 };

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
    }
}

/// The lists of those lanes that have entries, in the order in which they are served.
///
/// A sorted vector: lanes are few (two for each priority level in use), and it keeps its memory when they run empty.
#[derive(Debug)]
pub(super) struct Lanes {
    chain: Chain,
    lists: SmallVec<[(LaneKey, List); 1]>,
}

impl Lanes {
    pub(super) fn new(chain: Chain) -> Self {
        Self { chain, lists: SmallVec::new() }
    }

    /// The entry to be served first.
    pub(super) fn first(&self) -> Option<u32> {
        self.lists.first().and_then(|(_, list)| list.first())
    }

    /// Entries in the lane.
    pub(super) fn len_of(&self, key: LaneKey) -> usize {
        match self.find(key) {
            Ok(index) => self.lists[index].1.len,
            Err(_) => 0,
        }
    }

    /// The first entry of each lane, in the order of the lanes.
    pub(super) fn heads(&self) -> impl Iterator<Item = u32> {
        self.lists.iter().filter_map(|(_, list)| list.first())
    }

    /// All entries in the order in which they are served.
    pub(super) fn walk<'a, T>(&'a self, entries: &'a Entries<T>) -> impl Iterator<Item = &'a Entry<T>> {
        self.heads().flat_map(move |head| {
            let step = move |slot: &u32| Some(entries.next(*slot, self.chain)).filter(|next| *next != NONE);
            std::iter::successors(Some(head), step).map(|slot| entries.at(slot))
        })
    }

    /// Puts an entry at the end of its lane.
    pub(super) fn append<T>(&mut self, entries: &mut Entries<T>, slot: u32) {
        let key = entries.at(slot).lane;
        let index = self.find(key).unwrap_or_else(|index| {
            self.lists.insert(index, (key, List::EMPTY));
            index
        });
        self.lists[index].1.append(entries, self.chain, slot);
    }

    /// Takes an entry out of its lane.
    pub(super) fn unlink<T>(&mut self, entries: &mut Entries<T>, slot: u32) {
        let index = self.find(entries.at(slot).lane).expect("invariant: an entry's lane has a list");
        let list = &mut self.lists[index].1;
        list.unlink(entries, self.chain, slot);
        if list.len == 0 {
            self.lists.remove(index);
        }
    }

    fn find(&self, key: LaneKey) -> Result<usize, usize> {
        self.lists.binary_search_by_key(&key, |(lane, _)| *lane)
    }
}
