use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::num::NonZeroU64;
use std::time::Duration;

/// Fraction bits of virtual time, so that dividing a nanosecond by a weight loses nothing that matters.
const FRACTION_BITS: u32 = 32;

/// Virtual time: nanoseconds of device time per unit of weight, with [`FRACTION_BITS`].
type Virtual = u128;

/// Who runs next on a device: the highest priority first, and within one priority shares of device time in proportion
/// to weights.
///
/// Each key has a *start tag*, the device time that it has used divided by its weight; the key with the smallest tag
/// runs next, and the tag of the last that ran is its priority's virtual time. A key that comes back from idling starts
/// at the virtual time if its own tag is behind it: it gets its share from now on, and nothing for the time it had no
/// work. Since costs are only known afterwards, they are charged afterwards; while both have work, the shares of two
/// keys of one priority differ by no more than one charge of each, divided by its weight.
///
/// Lower priorities run when no higher one has work. A [patience](Self::with_patience) bounds how often they are passed
/// over.
///
/// Every operation is O(log n). A removed key leaves nothing behind.
///
/// Source: P. Goyal, H. M. Vin, H. Cheng, "Start-Time Fair Queueing", IEEE/ACM Transactions on Networking 5(5), 1997;
/// for processors, P. Goyal, X. Guo, H. M. Vin, "A Hierarchical CPU Scheduler for Multimedia Operating Systems",
/// OSDI 1996.
#[derive(Debug)]
pub struct FairQueue<K> {
    accounts: HashMap<K, Account>,
    levels: BTreeMap<u32, Level<K>>,
    /// Levels with ready keys, the highest first.
    busy: BTreeSet<u32>,
    /// Levels with ready keys by the turn from which they have been passed over.
    waiting: BTreeSet<(u64, u32)>,
    patience: Option<NonZeroU64>,
    turns: u64,
    ready: usize,
    stamps: u64,
}

#[derive(Debug)]
struct Account {
    priority: u32,
    weight: u32,
    tag: Virtual,
    /// While it is ready: its stamp, which tells keys of equal tags apart, first come first.
    stamp: Option<u64>,
}

#[derive(Debug)]
struct Level<K> {
    now: Virtual,
    ready: BTreeMap<(Virtual, u64), K>,
    accounts: usize,
    /// The turn at which it last ran or got ready.
    since: u64,
}

impl<K: Copy + Eq + Hash> Default for FairQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Eq + Hash> FairQueue<K> {
    /// An empty queue with strict priorities: a lower one may wait for ever.
    #[must_use]
    pub fn new() -> Self {
        Self {
            accounts: HashMap::new(),
            levels: BTreeMap::new(),
            busy: BTreeSet::new(),
            waiting: BTreeSet::new(),
            patience: None,
            turns: 0,
            ready: 0,
            stamps: 0,
        }
    }

    /// An empty queue in which a priority with work that was passed over `turns` times in a row gets one turn.
    #[must_use]
    pub fn with_patience(turns: NonZeroU64) -> Self {
        Self { patience: Some(turns), ..Self::new() }
    }

    /// `key` has work, at this priority (the lowest number first, as in Triton) and with this weight (0 counts as 1).
    /// A key that is ready already keeps its place, unless its priority changes.
    pub fn activate(&mut self, key: K, priority: u32, weight: u32) {
        let weight = weight.max(1);
        if self.accounts.get(&key).is_none_or(|account| account.priority != priority) {
            self.move_to(key, priority, weight);
        }
        let Some(account) = self.accounts.get_mut(&key) else {
            return;
        };
        account.weight = weight;
        if account.stamp.is_none() {
            if let Some(level) = self.levels.get(&priority) {
                account.tag = account.tag.max(level.now);
            }
            self.enter(key);
        }
    }

    /// The key that runs next, taken out of the ready set: it comes back with [`Self::activate`].
    #[expect(
        clippy::should_implement_trait,
        reason = "a key leaves and comes back: this is no sequence"
    )]
    pub fn next(&mut self) -> Option<K> {
        let priority = self.impatient().or_else(|| self.busy.first().copied())?;
        let level = self.levels.get_mut(&priority)?;
        let (&(tag, _), &key) = level.ready.first_key_value()?;
        level.now = level.now.max(tag);
        self.turns += 1;
        self.leave(key);
        self.served(priority);
        Some(key)
    }

    /// `key` used `cost` of device time. Nothing for a key that is not known.
    pub fn charge(&mut self, key: K, cost: Duration) {
        let Some(account) = self.accounts.get(&key) else {
            return;
        };
        let used = cost.as_nanos().min(u128::from(u64::MAX)) << FRACTION_BITS;
        let tag = account.tag.saturating_add(used / u128::from(account.weight));
        let ready = account.stamp.is_some();
        if ready {
            self.leave(key);
        }
        if let Some(account) = self.accounts.get_mut(&key) {
            account.tag = tag;
        }
        if ready {
            self.enter(key);
        }
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: K) {
        if self.accounts.get(&key).is_some_and(|account| account.stamp.is_some()) {
            self.leave(key);
        }
        if let Some(account) = self.accounts.remove(&key) {
            self.close(account.priority);
        }
    }

    /// Ready keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready
    }

    /// Whether no key is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready == 0
    }

    /// Keys known, ready or not.
    #[must_use]
    pub fn known(&self) -> usize {
        self.accounts.len()
    }

    /// Opens an account at `priority`, or moves it there with the debt that it had. It is not ready then.
    fn move_to(&mut self, key: K, priority: u32, weight: u32) {
        let debt = self.debt(key);
        self.remove(key);
        let turns = self.turns;
        let level = self.levels.entry(priority).or_insert_with(|| Level {
            now: 0,
            ready: BTreeMap::new(),
            accounts: 0,
            since: turns,
        });
        level.accounts += 1;
        let account = Account { priority, weight, tag: level.now.saturating_add(debt), stamp: None };
        self.accounts.insert(key, account);
    }

    /// How far the key is ahead of its level's virtual time.
    fn debt(&self, key: K) -> Virtual {
        let Some(account) = self.accounts.get(&key) else {
            return 0;
        };
        let now = self.levels.get(&account.priority).map_or(0, |level| level.now);
        account.tag.saturating_sub(now)
    }

    /// Puts a key into its level's ready set.
    fn enter(&mut self, key: K) {
        let Some(account) = self.accounts.get_mut(&key) else {
            return;
        };
        let Some(level) = self.levels.get_mut(&account.priority) else {
            return;
        };
        if level.ready.is_empty() {
            level.since = self.turns;
            self.waiting.insert((level.since, account.priority));
            self.busy.insert(account.priority);
        }
        account.stamp = Some(self.stamps);
        level.ready.insert((account.tag, self.stamps), key);
        self.stamps += 1;
        self.ready += 1;
    }

    /// Takes a key out of its level's ready set.
    fn leave(&mut self, key: K) {
        let Some(account) = self.accounts.get_mut(&key) else {
            return;
        };
        let Some(level) = self.levels.get_mut(&account.priority) else {
            return;
        };
        if let Some(stamp) = account.stamp.take() {
            level.ready.remove(&(account.tag, stamp));
            self.ready -= 1;
        }
        if level.ready.is_empty() {
            self.waiting.remove(&(level.since, account.priority));
            self.busy.remove(&account.priority);
        }
    }

    /// The level had its turn: it waits from now on.
    fn served(&mut self, priority: u32) {
        if let Some(level) = self.levels.get_mut(&priority)
            && self.waiting.remove(&(level.since, priority))
        {
            level.since = self.turns;
            self.waiting.insert((self.turns, priority));
        }
    }

    /// The level that has been passed over too often.
    fn impatient(&self) -> Option<u32> {
        let patience = self.patience?;
        let (since, priority) = self.waiting.first()?;
        (self.turns - since >= patience.get()).then_some(*priority)
    }

    /// One account of the level is closed.
    fn close(&mut self, priority: u32) {
        if let Some(level) = self.levels.get_mut(&priority) {
            level.accounts -= 1;
            if level.accounts == 0 {
                self.levels.remove(&priority);
            }
        }
    }
}

#[cfg(test)]
mod tests;
