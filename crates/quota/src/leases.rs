use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A place is renewed as soon as it has less than so much left, of three parts.
const RENEWED_PARTS: u32 = 2;

/// Most places that one call tells of.
const MAX_TOLD: usize = 256;

/// What a place is called where replicas share them: by whose it is, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LeaseId([u8; 16]);

impl LeaseId {
    pub(crate) fn new(replica: u64, number: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&replica.to_be_bytes());
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The places that this replica has among those which replicas share, by key: which ones it holds, and which ones it has to give
/// back. Time is an argument.
#[derive(Debug)]
pub(crate) struct LeaseBook {
    lease: Duration,
    keys: HashMap<Arc<str>, Leases>,
    /// Keys of which places were given back since somebody looked.
    freed: HashSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Leases {
    held: HashMap<LeaseId, Held>,
    /// Given back, which has not been told yet, and when the lease ends by itself.
    freed: HashMap<LeaseId, Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    ends: Instant,
    /// Whether it may be known where replicas share them.
    is_known: bool,
}

/// What is to be told of the places of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) key: Arc<str>,
    pub(crate) renewed: Vec<LeaseId>,
    pub(crate) freed: Vec<LeaseId>,
}

impl LeaseBook {
    /// Of places that last so long where nobody renews them.
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, keys: HashMap::new(), freed: HashSet::new() }
    }

    /// Takes note of a place that is going to be asked for. Returns those to be given back in the same step: whoever comes back
    /// at once finds the place free that the last request had.
    pub(crate) fn take(&mut self, key: &Arc<str>, id: LeaseId, now: Instant) -> Vec<LeaseId> {
        let leases = self.keys.entry(Arc::clone(key)).or_default();
        leases.held.insert(id, Held { ends: now + self.lease, is_known: true });
        leases.freed.keys().take(MAX_TOLD).copied().collect()
    }

    /// A place that was asked for and is not known to anybody else: it was refused, or nobody could be asked. `held` says whether
    /// its request goes on nevertheless.
    pub(crate) fn unknown(&mut self, key: &Arc<str>, id: LeaseId, held: bool) {
        self.change(key, |leases| match leases.held.get_mut(&id) {
            Some(place) if held => place.is_known = false,
            _ => drop(leases.held.remove(&id)),
        });
    }

    /// A place whose request is over. Whether there is something to tell.
    pub(crate) fn free(&mut self, key: &Arc<str>, id: LeaseId) -> bool {
        let is_told = self.change(key, |leases| {
            let Some(Held { ends, is_known: true }) = leases.held.remove(&id) else {
                return false;
            };
            leases.freed.insert(id, ends);
            true
        });
        if is_told {
            self.freed.insert(Arc::clone(key));
        }
        is_told
    }

    /// What was given back since somebody looked.
    pub(crate) fn freed(&mut self) -> Vec<Notice> {
        let keys = std::mem::take(&mut self.freed);
        let notice = |key: Arc<str>| {
            let freed = self.keys.get(&key)?.freed.keys().take(MAX_TOLD).copied().collect();
            Some(Notice { key, renewed: Vec::new(), freed })
        };
        let mut notices: Vec<Notice> = keys.into_iter().filter_map(notice).collect();
        notices.retain(|notice| !notice.freed.is_empty());
        notices
    }

    /// All that has been given back and not told so far, also what was told in vain.
    pub(crate) fn given_back(&mut self, now: Instant) -> Vec<Notice> {
        let mut notices = self.due(now);
        for notice in &mut notices {
            notice.renewed.clear();
        }
        notices.retain(|notice| !notice.freed.is_empty());
        notices
    }

    /// Whether something was.
    pub(crate) fn is_freed(&self) -> bool {
        !self.freed.is_empty()
    }

    /// What is to be renewed, and what has been given back and not told so far.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Notice> {
        self.freed.clear();
        let soon = now + self.lease * RENEWED_PARTS / 3;
        let mut notices = Vec::new();
        self.keys.retain(|key, leases| {
            leases.freed.retain(|_, ends| *ends > now);
            let due = leases.held.iter().filter(|(_, held)| held.ends < soon);
            let renewed: Vec<LeaseId> = due.map(|(id, _)| *id).collect();
            let freed: Vec<LeaseId> = leases.freed.keys().copied().collect();
            let mut told = renewed.chunks(MAX_TOLD).map(<[_]>::to_vec);
            let mut told_freed = freed.chunks(MAX_TOLD).map(<[_]>::to_vec);
            loop {
                let (renewed, freed) = (told.next(), told_freed.next());
                if renewed.is_none() && freed.is_none() {
                    break;
                }
                let (renewed, freed) = (renewed.unwrap_or_default(), freed.unwrap_or_default());
                notices.push(Notice { key: Arc::clone(key), renewed, freed });
            }
            !leases.is_empty()
        });
        notices
    }

    /// What was told is known now. The renewed ones last from `then`, before they were told.
    pub(crate) fn told(&mut self, notice: &Notice, then: Instant) {
        let ends = then + self.lease;
        let is_more = self.change(&notice.key, |leases| {
            for id in &notice.freed {
                leases.freed.remove(id);
            }
            for id in &notice.renewed {
                match leases.held.get_mut(id) {
                    Some(held) => *held = Held { ends, is_known: true },
                    // Given back meanwhile, which may have been told before.
                    None => drop(leases.freed.insert(*id, ends)),
                }
            }
            !leases.freed.is_empty()
        });
        if is_more {
            self.freed.insert(Arc::clone(&notice.key));
        }
    }

    /// Places that are held.
    pub(crate) fn len(&self) -> usize {
        self.keys.values().map(|leases| leases.held.len()).sum()
    }

    fn change<T>(&mut self, key: &Arc<str>, change: impl FnOnce(&mut Leases) -> T) -> T {
        let leases = self.keys.entry(Arc::clone(key)).or_default();
        let result = change(leases);
        if leases.is_empty() {
            self.keys.remove(key);
        }
        result
    }
}

impl Leases {
    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.freed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(9);

    struct Bench {
        book: LeaseBook,
        key: Arc<str>,
        begun: Instant,
    }

    fn bench() -> Bench {
        Bench { book: LeaseBook::new(LEASE), key: "a".into(), begun: Instant::now() }
    }

    fn id(number: u64) -> LeaseId {
        LeaseId::new(7, number)
    }

    impl Bench {
        fn at(&self, seconds: u64) -> Instant {
            self.begun + Duration::from_secs(seconds)
        }

        fn take(&mut self, number: u64, seconds: u64) -> Vec<LeaseId> {
            let now = self.at(seconds);
            self.book.take(&self.key, id(number), now)
        }

        /// What is to be told, and is told.
        fn tell(&mut self, seconds: u64) -> Vec<(Vec<LeaseId>, Vec<LeaseId>)> {
            let notices = self.book.due(self.at(seconds));
            for notice in &notices {
                self.book.told(notice, self.at(seconds));
            }
            notices.into_iter().map(|notice| (notice.renewed, notice.freed)).collect()
        }

        fn notice(&self, renewed: &[LeaseId], freed: &[LeaseId]) -> Notice {
            Notice { key: Arc::clone(&self.key), renewed: renewed.into(), freed: freed.into() }
        }
    }

    #[test]
    fn places_are_renewed_in_time_and_as_long_as_they_are_held() {
        let mut bench = bench();
        assert_eq!(bench.take(1, 0), []);
        assert_eq!(bench.tell(3), []);
        assert_eq!(bench.tell(4), [(vec![id(1)], vec![])]);
        assert_eq!(bench.tell(7), []);
        assert_eq!(bench.book.due(bench.at(8)).len(), 1);
        assert_eq!(bench.tell(100), [(vec![id(1)], vec![])], "also one that has ended: its request has not");
        assert!(bench.book.free(&bench.key, id(1)));
        assert_eq!(bench.tell(101), [(vec![], vec![id(1)])]);
        assert_eq!(bench.tell(200), []);
        assert!(bench.book.keys.is_empty());
    }

    #[test]
    fn what_is_given_back_is_told_by_the_next_who_asks_or_at_once() {
        let mut bench = bench();
        bench.take(1, 0);
        bench.book.free(&bench.key, id(1));
        assert_eq!(bench.take(2, 0), [id(1)]);
        assert_eq!(bench.take(3, 0), [id(1)], "until it is known to be told");
        bench.book.told(&bench.notice(&[], &[id(1)]), bench.at(0));
        assert_eq!(bench.book.freed(), [], "there is nothing left to tell");
        bench.book.free(&bench.key, id(2));
        let told = bench.notice(&[], &[id(2)]);
        assert_eq!(bench.book.freed(), [told]);
        assert_eq!(bench.book.freed(), [], "it is told once");
        assert_eq!(bench.tell(1), [(vec![], vec![id(2)])], "and again later, if it did not come through");
        assert_eq!(bench.book.len(), 1);
    }

    #[test]
    fn at_the_end_all_is_given_back_that_was_not_told_and_nothing_is_renewed() {
        let mut bench = bench();
        for number in 1..4 {
            bench.take(number, 0);
        }
        bench.book.free(&bench.key, id(1));
        assert_eq!(bench.book.freed().len(), 1, "it did not come through");
        bench.book.free(&bench.key, id(2));
        let [notice] = &bench.book.given_back(bench.at(5))[..] else {
            panic!("one key")
        };
        assert!(notice.renewed.is_empty() && notice.freed.len() == 2, "{notice:?}");
    }

    #[test]
    fn what_cannot_be_told_ends_by_itself() {
        let mut bench = bench();
        bench.take(1, 0);
        bench.book.free(&bench.key, id(1));
        assert_eq!(bench.book.due(bench.at(8)).len(), 1);
        assert_eq!(bench.book.due(bench.at(9)), []);
        assert!(bench.book.keys.is_empty());
    }

    #[test]
    fn a_place_that_nobody_knows_is_told_when_it_lasts() {
        let mut bench = bench();
        for number in 1..4 {
            bench.take(number, 0);
        }
        bench.book.unknown(&bench.key, id(1), false);
        bench.book.unknown(&bench.key, id(2), true);
        bench.book.unknown(&bench.key, id(3), true);
        assert!(!bench.book.free(&bench.key, id(2)), "there is nothing to give back");
        assert_eq!(bench.tell(4), [(vec![id(3)], vec![])]);
        assert!(bench.book.free(&bench.key, id(3)));
    }

    #[test]
    fn a_place_that_is_given_back_while_it_is_renewed_is_given_back_again() {
        let mut bench = bench();
        bench.take(1, 0);
        let notices = bench.book.due(bench.at(4));
        bench.book.free(&bench.key, id(1));
        let given_back = bench.notice(&[], &[id(1)]);
        bench.book.told(&given_back, bench.at(4));
        bench.book.told(&notices[0], bench.at(4));
        assert_eq!(bench.book.freed(), [given_back]);
    }

    #[test]
    fn many_are_told_in_several_calls() {
        let mut bench = bench();
        for number in 0..1000 {
            bench.take(number, 0);
        }
        for number in 0..500 {
            bench.book.free(&bench.key, id(number));
        }
        assert_eq!(bench.take(1000, 0).len(), MAX_TOLD);
        let told = bench.tell(4);
        assert!(told.iter().all(|(renewed, freed)| renewed.len().max(freed.len()) <= MAX_TOLD));
        assert_eq!(told.iter().map(|(renewed, _)| renewed.len()).sum::<usize>(), 501);
        assert_eq!(told.iter().map(|(_, freed)| freed.len()).sum::<usize>(), 500);
        assert_eq!(bench.tell(5), []);
    }
}
