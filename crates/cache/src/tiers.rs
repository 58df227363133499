//! The tier that replicas share, as a leader uses it: asked before the model runs, told afterwards, and with a lease between
//! replicas that would compute the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adulis_retry::{Backoff, BackoffOptions};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::cache::ModelCache;
use crate::compute::Compute;
use crate::entry::{Entry, Outcome, weight};
use crate::plan::{Plan, State};
use crate::purging::Generations;
use crate::resolve::{Asked, Leads};
use crate::value::{self, Answer, Packing};
use crate::{GuardedTier, Holder, Key, StoredValue, TierError};

/// How long values lie in a shared tier where nothing says otherwise.
const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST_TTL: Duration = Duration::from_millis(1);
/// How long a replica waits between two looks for what another one computes, at first and at most.
const PAUSES: BackoffOptions =
    BackoffOptions { min_delay: Duration::from_millis(2), max_delay: Duration::from_millis(50) };

/// What held when a leader began.
pub(crate) struct Begun {
    /// How often its model had been purged.
    pub(crate) purges: u64,
    /// Under which generations answers lie in the shared tier; `None` where there is none that could be used.
    generations: Option<Generations>,
    lease: Option<Lease>,
}

impl ModelCache {
    /// Looks for what is this request's to find where replicas share it. What is found there lands; what is left is to be run,
    /// under a lease if one could be had. Whatever goes wrong is as if nothing were there.
    ///
    /// Where another replica has the lease, it is waited for as long as that lasts at most, and no longer than the request may.
    pub(crate) async fn ask_shared<C: Compute>(
        &self,
        plan: &mut Plan,
        mut leads: Leads,
        asked: &Asked<'_, C>,
    ) -> (Leads, Begun) {
        let mut begun = Begun { purges: self.marks.count(), generations: None, lease: None };
        let Some(tier) = &self.cache.shared else {
            return (leads, begun);
        };
        self.cache.watch();
        self.cache.generations(&self.marks).await;
        // In this order: what is found under a generation that was purged since is not remembered.
        begun.purges = self.marks.count();
        begun.generations = self.marks.generations();
        let Some(generations) = begun.generations else {
            return (leads, begun);
        };
        let duration = self.cache.settings.lease;
        let (mut pauses, mut has_waited) = (Backoff::new(PAUSES), false);
        let end = Instant::now() + duration;
        let until = asked.deadline.map_or(end, |deadline| deadline.min(end));
        loop {
            let found = self.find(tier, plan, (&mut leads, &begun), asked).await;
            // Who overtakes a leader here is not to wait for its lease.
            let overtakes = leads.iter().any(|(_, lead)| lead.overtakes());
            if found.is_err() || leads.is_empty() || duration.is_zero() || overtakes {
                return (leads, begun);
            }
            let keys = shared_keys(&leads, generations);
            match Lease::take(tier, Key::of_all(&keys), duration).await {
                Ok(Some(lease)) => {
                    begun.lease = Some(lease);
                    if has_waited {
                        // Whoever had it until now may have written after the look. What cannot be looked for is run.
                        let _found = self.find(tier, plan, (&mut leads, &begun), asked).await;
                    }
                    return (leads, begun);
                }
                Ok(None) if Instant::now() < until => {
                    has_waited = true;
                    tokio::time::sleep_until((Instant::now() + pauses.next_delay()).min(until)).await;
                }
                Ok(None) | Err(_) => return (leads, begun),
            }
        }
    }

    async fn find<C: Compute>(
        &self,
        tier: &GuardedTier,
        plan: &mut Plan,
        (leads, begun): (&mut Leads, &Begun),
        asked: &Asked<'_, C>,
    ) -> Result<(), TierError> {
        let Some(generations) = begun.generations else {
            return Ok(());
        };
        let keys = shared_keys(leads, generations);
        let values = tier.get_many(&keys).await?;
        let mut left = Leads::new();
        for (((slot, lead), key), value) in std::mem::take(leads).into_iter().zip(&keys).zip(values) {
            let accepted = value.and_then(|value| self.accepted(tier, key, &value, asked));
            match accepted {
                None => left.push((slot, lead)),
                Some((answer, age)) => {
                    let outcome = Outcome::Answer(answer);
                    let entry = self.remember(*lead.key(), outcome, (age, begun.purges));
                    lead.land(&entry);
                    plan.set(slot, State::Known(entry));
                }
            }
        }
        *leads = left;
        Ok(())
    }

    /// The answer that a value is, and how old it is; `None` for what is not one of this model's, or not any more.
    fn accepted<C>(
        &self,
        tier: &GuardedTier,
        key: &Key,
        value: &Bytes,
        asked: &Asked<'_, C>,
    ) -> Option<(Answer, Duration)> {
        let (answer, computed) = match value::decode(key, value, self.cache.settings.max_entry_bytes) {
            Ok(decoded) => decoded,
            Err(error) => {
                tier.rejected();
                tracing::debug!(tier = tier.name(), model = %self.scope.model(), %error, "a cached value is dropped");
                return None;
            }
        };
        if !self.fits(&answer, asked.outputs, asked.row_wise) {
            tier.rejected();
            tracing::debug!(tier = tier.name(), model = %self.scope.model(), "a cached value is no answer of this model");
            return None;
        }
        // A clock that goes fast makes nothing older than it is.
        let age = since_1970().saturating_sub(computed);
        self.policy.ttl.is_none_or(|ttl| age < ttl).then_some((answer, age))
    }

    /// Writes answers that have just been computed, in the background, and gives the lease back when they are there.
    pub(crate) fn write_shared(&self, written: Vec<(Key, Arc<Entry>)>, computed: Duration, begun: Begun) {
        let Begun { generations: Some(generations), lease, .. } = begun else {
            return;
        };
        let (Some(tier), Ok(runtime)) = (&self.cache.shared, Handle::try_current()) else {
            return;
        };
        let most = self.cache.settings.max_entry_bytes;
        let written: Vec<_> =
            written.into_iter().filter(|(_, entry)| weight(&entry.outcome) <= most).collect();
        let Some(permit) = tier.write_permit(written.len()).filter(|_| !written.is_empty()) else {
            return;
        };
        let ttl = self
            .policy
            .ttl
            .map_or(LONGEST_TTL, |ttl| ttl.saturating_add(self.policy.stale_while_revalidate));
        let ttl = ttl.clamp(SHORTEST_TTL, LONGEST_TTL);
        let packing = Packing { compress_from_bytes: self.cache.settings.compress_from_bytes };
        let tier = tier.clone();
        runtime.spawn(async move {
            let values: Vec<StoredValue> = written
                .iter()
                .filter_map(|(key, entry)| {
                    // One that was purged meanwhile lies where nobody looks any more.
                    let key = key.under(generations);
                    let value = value::encode(&key, entry.answer()?, computed, packing);
                    Some(StoredValue { key, value, ttl })
                })
                .collect();
            // What went wrong is counted, and logged once.
            let _ = tier.set_many(&values).await;
            drop((lease, permit));
        });
    }
}

/// What leads are called in the shared tier.
fn shared_keys(leads: &Leads, generations: Generations) -> Vec<Key> {
    leads.iter().map(|(_, lead)| lead.key().under(generations)).collect()
}

/// A lease that this replica has, or may have. Dropped, it is given back.
pub(crate) struct Lease {
    tier: GuardedTier,
    key: Key,
    holder: Holder,
    /// Whether there is anything to give back.
    armed: bool,
}

impl Lease {
    /// `None` where somebody else has it.
    async fn take(tier: &GuardedTier, key: Key, duration: Duration) -> Result<Option<Self>, TierError> {
        let holder = Holder::unique();
        // Armed before it is there, so that it is given back, too, where it is taken when nobody waits for it any more.
        let mut lease = Self { tier: tier.clone(), key, holder, armed: true };
        let taken = tier.lease(&key, holder, duration).await;
        lease.armed = !matches!(taken, Ok(false) | Err(TierError::Open));
        Ok(taken?.then_some(lease))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.armed, Handle::try_current()) {
            let (tier, key, holder) = (self.tier.clone(), self.key, self.holder);
            // If that fails it ends by itself.
            runtime.spawn(async move { drop(tier.release(&key, holder).await) });
        }
    }
}

impl Holder {
    /// One that nobody else has: this process's, with a number.
    fn unique() -> Self {
        static PROCESS: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let process = PROCESS.get_or_init(|| {
            use std::hash::{BuildHasher, RandomState};
            // Seeded by the system's source of randomness.
            RandomState::new().hash_one((std::process::id(), since_1970()))
        });
        let mut holder = [0; 16];
        holder[..8].copy_from_slice(&process.to_le_bytes());
        holder[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        Self(holder)
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
