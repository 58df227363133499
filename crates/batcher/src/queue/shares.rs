use std::collections::HashMap;
use std::num::NonZeroU64;

use smallvec::SmallVec;

use super::entries::weight;
use crate::Flow;

/// Virtual time: rows per unit of weight, with [`FRACTION_BITS`]. It begins anew whenever a level runs empty, and has room for
/// nine years of a million rows per second without that.
pub(super) type Tag = u64;

/// Fraction bits of virtual time: weights up to 65,536 are told apart.
const FRACTION_BITS: u32 = 16;

/// Accounts that are tolerated beside those with requests that wait.
const TOLERATED: usize = 64;

/// The flow of requests that are nobody's in particular.
const NOBODY: u64 = 0;

/// Who gets how much of the queue's rows, by priority level.
///
/// Each request has a *start tag*: the virtual time at which it came, or at which the one before of its flow is done, whichever
/// is later; it is done as many rows later as it has, divided by the flow's weight. Requests are served by their start tags, and
/// the virtual time of a level is that of the request that is first in line when a batch goes, whatever else goes with it. So of
/// two flows that have requests waiting each gets rows in proportion to its weight, whatever they ask for, and one that comes
/// back is not behind for what it did not use.
///
/// Until a request names a flow all tags are zero, and nothing is kept.
///
/// Source: P. Goyal, H. M. Vin, H. Cheng, "Start-Time Fair Queueing", IEEE/ACM Transactions on Networking 5(5), 1997.
#[derive(Debug, Default)]
pub(super) struct Shares {
    levels: SmallVec<[(u32, Level); 1]>,
    is_on: bool,
}

#[derive(Debug, Default)]
struct Level {
    now: Tag,
    accounts: HashMap<u64, Account>,
    /// Accounts with requests that wait.
    active: usize,
}

fn key_of(flow: Option<Flow>) -> u64 {
    flow.map_or(NOBODY, |flow| flow.key)
}

impl Level {
    fn is_overgrown(&self) -> bool {
        self.accounts.len() > 2 * self.active + TOLERATED
    }
}

#[derive(Debug, Clone, Copy)]
struct Account {
    /// When its latest request is done.
    finish: Tag,
    weight: u32,
    /// That wait.
    rows: usize,
}

/// A request's place in its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) start: NonZeroU64,
    finish: Tag,
    key: u64,
}

impl Shares {
    /// Takes a request in: when its turn is. `None` while no flows are told apart.
    pub(super) fn enter(&mut self, level: u32, flow: Option<Flow>, rows: usize) -> Option<Share> {
        self.is_on |= flow.is_some();
        if !self.is_on {
            return None;
        }
        let share = self.share(level, flow, rows);
        let level = self.level_mut(level);
        let flow_weight = flow.map_or(1, |flow| flow.weight.max(1));
        let account =
            level
                .accounts
                .entry(share.key)
                .or_insert(Account { finish: 0, weight: flow_weight, rows: 0 });
        level.active += usize::from(account.rows == 0);
        *account = Account { finish: share.finish, weight: flow_weight, rows: account.rows + weight(rows) };
        Some(share)
    }

    /// The start tag that a request would have; zero while no flows are told apart.
    pub(super) fn start(&self, level: u32, flow: Option<Flow>) -> Tag {
        match self.is_on || flow.is_some() {
            true => self.share(level, flow, 0).start.get(),
            false => 0,
        }
    }

    /// Rows of a level that are served before a request that starts at `start`, of those that were told apart.
    pub(super) fn rows_ahead(&self, level: u32, flow: Option<Flow>, start: Tag) -> usize {
        let Some(level) = self.level(level) else {
            return 0;
        };
        let own = key_of(flow);
        let span = start.saturating_sub(level.now);
        let before = |(key, account): (&u64, &Account)| {
            if *key == own {
                return account.rows;
            }
            let due = (span.saturating_mul(account.weight.into()) >> FRACTION_BITS) + 1;
            account.rows.min(usize::try_from(due).unwrap_or(usize::MAX))
        };
        level.accounts.iter().map(before).sum()
    }

    /// Rows of a level that wait, of those that were told apart.
    pub(super) fn rows(&self, level: u32) -> usize {
        self.level(level)
            .map_or(0, |level| level.accounts.values().map(|account| account.rows).sum())
    }

    /// A batch goes while a request with this start tag is the first in line.
    pub(super) fn advance(&mut self, level: u32, share: Share) {
        let now = &mut self.level_mut(level).now;
        *now = (*now).max(share.start.get());
    }

    /// A request has left.
    pub(super) fn left(&mut self, level: u32, (share, rows): (Share, usize), was_served: bool) {
        let level = self.level_mut(level);
        let Some(account) = level.accounts.get_mut(&share.key) else {
            return;
        };
        account.rows -= weight(rows);
        if !was_served && account.finish == share.finish {
            // The latest of its flow: as if it had never come.
            account.finish = share.start.get();
        }
        if account.rows > 0 {
            return;
        }
        level.active -= 1;
        if level.active == 0 {
            // Nobody waits: nobody is owed anything.
            *level = Level::default();
        } else if level.is_overgrown() {
            let now = level.now;
            level.accounts.retain(|_, account| account.rows > 0 || account.finish > now);
            if level.is_overgrown() {
                // So many that come once and go are forgiven what they had more than others: a request each.
                level.accounts.retain(|_, account| account.rows > 0);
            }
        }
    }

    fn share(&self, level: u32, flow: Option<Flow>, rows: usize) -> Share {
        let key = key_of(flow);
        let (now, finish) = match self.level(level) {
            Some(level) => (level.now, level.accounts.get(&key).map_or(0, |account| account.finish)),
            None => (0, 0),
        };
        // From one on, so that what came before flows were told apart is first.
        let start = NonZeroU64::new(now.max(finish)).unwrap_or(NonZeroU64::MIN);
        let flow_weight = u64::from(flow.map_or(1, |flow| flow.weight.max(1)));
        let cost = (weight(rows) as u64).saturating_mul(1 << FRACTION_BITS) / flow_weight;
        Share { start, finish: start.get().saturating_add(cost), key }
    }

    fn level(&self, level: u32) -> Option<&Level> {
        self.levels.iter().find(|(known, _)| *known == level).map(|(_, level)| level)
    }

    fn level_mut(&mut self, level: u32) -> &mut Level {
        let index = self.levels.iter().position(|(known, _)| *known == level).unwrap_or_else(|| {
            self.levels.push((level, Level::default()));
            self.levels.len() - 1
        });
        &mut self.levels[index].1
    }

    /// Accounts that are kept.
    #[cfg(test)]
    pub(super) fn accounts(&self) -> usize {
        self.levels.iter().map(|(_, level)| level.accounts.len()).sum()
    }
}
