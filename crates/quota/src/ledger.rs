use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter};

use crate::Counts;
use crate::key::{Key, KeyRef};

/// What is counted of one key.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) counts: Mutex<Counts>,
    /// Requests under way.
    under_way: AtomicU32,
}

/// The accounts, bounded in number: of those beyond, who has not asked for the longest time is forgotten, and has all of its
/// limits anew. Who has requests under way is not.
pub(crate) struct Ledger(Cache<Key, Arc<Account>, UnitWeighter, DefaultHashBuilder, Forgetting>);

/// Who is forgotten, and how many were.
#[derive(Debug, Clone)]
struct Forgetting(Counter);

impl Lifecycle<Key, Arc<Account>> for Forgetting {
    type RequestState = ();

    fn is_pinned(&self, _: &Key, account: &Arc<Account>) -> bool {
        account.under_way.load(Ordering::Relaxed) > 0
    }

    fn on_evict(&self, (): &mut Self::RequestState, _: Key, _: Arc<Account>) {
        self.0.inc();
    }
}

/// A place among the requests of a key that are under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Account>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ledger {
    /// Room for so many keys.
    pub(crate) fn new(capacity: usize, forgotten: Counter) -> Self {
        let capacity = capacity.max(1);
        let forgetting = Forgetting(forgotten);
        Self(Cache::with(
            capacity,
            capacity as u64,
            UnitWeighter,
            DefaultHashBuilder::default(),
            forgetting,
        ))
    }

    pub(crate) fn account(&self, key: KeyRef<'_>) -> Arc<Account> {
        if let Some(account) = self.0.get(&key) {
            return account;
        }
        let made = self.0.get_or_insert_with(&key.owned(), || Ok::<_, ()>(Arc::default()));
        made.unwrap_or_default()
    }

    /// Keys that are told apart now.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Account {
    /// A place for one request more, and how many are free then; `None` where there are `most` already.
    pub(crate) fn enter(self: &Arc<Self>, most: u32) -> Option<(Place, u32)> {
        let before = self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |under_way| {
            (under_way < most).then(|| under_way + 1)
        });
        let before = before.ok()?;
        Some((Place(Arc::clone(self)), most - before - 1))
    }
}

#[cfg(test)]
mod tests {
    use adulis_types::{Identity, IdentityKind, Scopes};

    use super::*;

    fn identity(number: u32) -> Identity {
        Identity::new(format!("{number}"), IdentityKind::ApiKey, Scopes::NONE)
    }

    fn account(ledger: &Ledger, number: u32) -> Arc<Account> {
        ledger.account(KeyRef::new(Some(&identity(number)), None))
    }

    #[test]
    fn places_are_given_back() {
        let ledger = Ledger::new(10, Counter::default());
        let (first, free) = account(&ledger, 1).enter(2).unwrap();
        let (second, none) = account(&ledger, 1).enter(2).unwrap();
        assert_eq!((free, none), (1, 0));
        assert!(account(&ledger, 1).enter(2).is_none());
        assert!(account(&ledger, 2).enter(2).is_some(), "another's");
        drop(first);
        assert_eq!(account(&ledger, 1).enter(2).unwrap().1, 0);
        drop(second);
        assert_eq!(account(&ledger, 1).enter(2).unwrap().1, 1);
    }

    #[test]
    fn keys_are_bounded_and_who_has_requests_under_way_is_not_forgotten() {
        let forgotten = Counter::default();
        let ledger = Ledger::new(100, forgotten.clone());
        let places: Vec<_> = (0..20).map(|number| account(&ledger, number).enter(1).unwrap().0).collect();
        for number in 100..10_000 {
            account(&ledger, number);
        }
        assert!(ledger.len() <= 100, "{}", ledger.len());
        assert!(forgotten.get() >= 9_800, "{}", forgotten.get());
        for number in 0..20 {
            assert!(account(&ledger, number).enter(1).is_none(), "{number} was forgotten");
        }
        drop(places);
        assert!(account(&ledger, 0).enter(1).is_some());
    }
}
