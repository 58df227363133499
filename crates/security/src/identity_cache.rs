use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adulis_types::Identity;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::{AuthError, KeyDigest};

/// Who has which credentials, or nobody, for a while.
#[derive(Debug)]
pub(crate) struct IdentityCache {
    known: Cache<KeyDigest, Arc<Entry>>,
    /// Apart, so that nobody can push out those that are known by trying what is not.
    unknown: Cache<KeyDigest, Arc<Entry>>,
    ages: Ages,
}

/// For how long what was found out holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ages {
    /// For so long without another look. For as long again it is given while somebody looks.
    pub(crate) ttl: Duration,
    /// For so long where it cannot be looked.
    pub(crate) outage: Duration,
}

/// What was found out.
pub(crate) type Outcome = Result<Arc<Identity>, AuthError>;

#[derive(Debug)]
pub(crate) struct Entry {
    outcome: Outcome,
    since: Instant,
    /// Whether somebody looks already.
    is_being_looked_at: AtomicBool,
    /// Whether somebody has looked in vain.
    is_in_outage: AtomicBool,
}

/// What the cache says.
#[derive(Debug)]
pub(crate) enum Found {
    /// It holds.
    Fresh(Outcome),
    /// It is given still, and whoever is told so looks again.
    Due(Outcome),
    /// It is given still, and somebody else looks.
    Stale(Outcome),
    /// It must be looked before anything is given.
    Absent,
}

impl IdentityCache {
    /// A cache of `capacity` identities, and as many credentials that nobody has.
    pub(crate) fn new(capacity: usize, ages: Ages) -> Self {
        Self { known: Cache::new(capacity.max(1)), unknown: Cache::new(capacity.max(1)), ages }
    }

    pub(crate) fn find(&self, digest: &KeyDigest) -> Found {
        let Some(entry) = self.known.get(digest).or_else(|| self.unknown.get(digest)) else {
            return Found::Absent;
        };
        let age = entry.since.elapsed();
        let outcome = || entry.outcome.clone();
        // Nobody waits for a source that did not answer the last time, or has not answered yet, while what is known of it holds.
        let is_unanswered =
            entry.is_in_outage.load(Ordering::Relaxed) || entry.is_being_looked_at.load(Ordering::Relaxed);
        let twice = self.ages.ttl * 2;
        let longest = if is_unanswered { self.ages.outage.max(twice) } else { twice };
        if age < self.ages.ttl {
            Found::Fresh(outcome())
        } else if entry.outcome.is_err() || age >= longest {
            Found::Absent
        } else if entry.is_being_looked_at.swap(true, Ordering::Relaxed) {
            Found::Stale(outcome())
        } else {
            Found::Due(outcome())
        }
    }

    /// Whether somebody had these credentials the last time that it was looked, however long ago.
    pub(crate) fn is_known(&self, digest: &KeyDigest) -> bool {
        self.known.get(digest).is_some()
    }

    /// What holds of a known identity where it cannot be looked.
    pub(crate) fn in_outage(&self, digest: &KeyDigest) -> Option<Arc<Identity>> {
        let entry = self.known.get(digest)?;
        let outcome = entry.outcome.clone().ok().filter(|_| entry.since.elapsed() < self.ages.outage);
        // Somebody has looked in vain: the next one may.
        entry.is_in_outage.store(true, Ordering::Relaxed);
        entry.is_being_looked_at.store(false, Ordering::Relaxed);
        outcome
    }

    /// Whether a known identity holds no more because it could not be looked for so long.
    pub(crate) fn is_over(&self, digest: &KeyDigest) -> bool {
        self.known.get(digest).is_some_and(|entry| {
            entry.is_in_outage.load(Ordering::Relaxed) && entry.since.elapsed() >= self.ages.outage
        })
    }

    pub(crate) fn put(&self, digest: KeyDigest, outcome: Outcome) {
        let is_known = outcome.is_ok();
        let entry = Arc::new(Entry {
            outcome,
            since: Instant::now(),
            is_being_looked_at: AtomicBool::new(false),
            is_in_outage: AtomicBool::new(false),
        });
        if is_known {
            self.unknown.remove(&digest);
            self.known.insert(digest, entry);
        } else {
            self.known.remove(&digest);
            self.unknown.insert(digest, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use adulis_types::{IdentityKind, Scopes};

    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    fn cache() -> IdentityCache {
        IdentityCache::new(100, Ages { ttl: TTL, outage: Duration::from_secs(60) })
    }

    fn identity(name: &str) -> Arc<Identity> {
        Arc::new(Identity::new(name, IdentityKind::ApiKey, Scopes::NONE))
    }

    fn state(cache: &IdentityCache, digest: &KeyDigest) -> &'static str {
        match cache.find(digest) {
            Found::Fresh(Ok(_)) => "fresh",
            Found::Fresh(Err(_)) => "refused",
            Found::Due(Ok(_)) => "due",
            Found::Stale(Ok(_)) => "stale",
            Found::Due(Err(_)) | Found::Stale(Err(_)) => "a refusal that is out of date",
            Found::Absent => "absent",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_looked_at_again_by_one_and_given_no_longer_than_twice_its_time() {
        let (cache, digest) = (cache(), KeyDigest::of(b"a"));
        assert_eq!(state(&cache, &digest), "absent");
        cache.put(digest, Ok(identity("a")));
        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert_eq!(state(&cache, &digest), "fresh");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!([state(&cache, &digest), state(&cache, &digest)], ["due", "stale"]);
        tokio::time::advance(TTL).await;
        assert_eq!(state(&cache, &digest), "stale", "whoever looks has not been answered");
        cache.put(digest, Ok(identity("a")));
        tokio::time::advance(TTL * 2).await;
        assert_eq!(state(&cache, &digest), "absent", "nobody has looked");
        assert!(cache.in_outage(&digest).is_some());
        tokio::time::advance(Duration::from_secs(50)).await;
        assert!(cache.in_outage(&digest).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn while_nobody_can_look_what_is_known_is_given_at_once() {
        let (cache, digest) = (cache(), KeyDigest::of(b"a"));
        cache.put(digest, Ok(identity("a")));
        tokio::time::advance(TTL).await;
        assert_eq!(state(&cache, &digest), "due");
        assert!(cache.in_outage(&digest).is_some());
        tokio::time::advance(TTL * 8).await;
        assert_eq!([state(&cache, &digest), state(&cache, &digest)], ["due", "stale"]);
        assert!(cache.in_outage(&digest).is_some());
        assert_eq!(state(&cache, &digest), "due", "the next one looks again");
        tokio::time::advance(TTL * 3).await;
        assert_eq!(state(&cache, &digest), "absent", "an outage does not go on for ever");
        assert!(cache.is_over(&digest));
        // Found again, it is held for true as ever.
        cache.put(digest, Ok(identity("a")));
        tokio::time::advance(TTL * 2).await;
        assert_eq!(state(&cache, &digest), "absent");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_refused_for_its_time_and_takes_the_place_of_what_was_known() {
        let (cache, digest) = (cache(), KeyDigest::of(b"a"));
        cache.put(digest, Ok(identity("a")));
        cache.put(digest, Err(AuthError::Revoked));
        assert_eq!(state(&cache, &digest), "refused");
        assert!(cache.in_outage(&digest).is_none(), "an outage brings nobody back");
        tokio::time::advance(TTL).await;
        assert_eq!(state(&cache, &digest), "absent");
        cache.put(digest, Ok(identity("a")));
        assert_eq!(state(&cache, &digest), "fresh");
    }

    #[tokio::test(start_paused = true)]
    async fn trying_what_nobody_has_pushes_out_nobody() {
        let (cache, digest) = (cache(), KeyDigest::of(b"a"));
        cache.put(digest, Ok(identity("a")));
        for number in 0..10_000_u32 {
            cache.put(KeyDigest::of(&number.to_le_bytes()), Err(AuthError::Unknown));
        }
        assert_eq!(state(&cache, &digest), "fresh");
        assert!(cache.unknown.len() <= 100, "{}", cache.unknown.len());
    }
}
