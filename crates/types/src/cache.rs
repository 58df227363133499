//! What requests and answers say about the response cache, and what may be seen and done of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Fault;

/// Whether a request may be answered from the response cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CacheDirective {
    /// From the cache, where its model has one.
    #[default]
    Use,
    /// The model runs, and what it answers is remembered for others.
    NoCache,
    /// The model runs, and nothing of request or answer is remembered.
    NoStore,
}

impl CacheDirective {
    /// Every directive with its name, as requests say it.
    pub const NAMES: [(&str, CacheDirective); 3] = [
        ("use", CacheDirective::Use),
        ("no-cache", CacheDirective::NoCache),
        ("no-store", CacheDirective::NoStore),
    ];

    /// The directive of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, directive)| *directive)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::NoCache => "no-cache",
            Self::NoStore => "no-store",
        }
    }

    /// What a `Cache-Control` header of a request asks for. What it says beside `no-store`, `no-cache` and `max-age=0` is left
    /// aside, as HTTP has it for directives that a cache does not know; the strictest that is said holds.
    #[must_use]
    pub fn of_header(value: &[u8]) -> Self {
        let directives = value.split(|byte| *byte == b',').map(|directive| directive.trim_ascii());
        let asked = directives.map(|directive| {
            if directive.eq_ignore_ascii_case(b"no-store") {
                Self::NoStore
            } else if directive.eq_ignore_ascii_case(b"no-cache")
                || directive.eq_ignore_ascii_case(b"max-age=0")
            {
                Self::NoCache
            } else {
                Self::Use
            }
        });
        asked.fold(Self::Use, Self::stricter)
    }

    /// The stricter of two.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::NoStore, _) | (_, Self::NoStore) => Self::NoStore,
            (Self::NoCache, _) | (_, Self::NoCache) => Self::NoCache,
            (Self::Use, Self::Use) => Self::Use,
        }
    }
}

/// How a request of a model with a response cache came to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheStatus {
    /// All of it was known.
    Hit,
    /// All of it was known, and some out of date: it is being computed anew.
    Stale,
    /// It waited for the run of another request.
    Coalesced,
    /// The model ran for it, for all of its rows or some.
    Miss,
    /// It did not want to be looked up.
    Bypass,
}

impl CacheStatus {
    /// Its name, as headers, metrics and parameters have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Coalesced => "coalesced",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }

    /// Whether the model did not run for it.
    #[must_use]
    pub const fn is_known(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Coalesced)
    }
}

/// What an answer says about the response cache. As text: `hit; age=12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOutcome {
    /// How the request came to its answer.
    pub status: CacheStatus,
    /// How long ago it was computed, its oldest row; zero where the model ran for all of it.
    pub age: Duration,
}

impl fmt::Display for CacheOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; age={}", self.status.as_str(), self.age.as_secs())
    }
}

/// What the response cache holds and has done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CacheReport {
    /// Most bytes that it holds in memory.
    pub capacity_bytes: u64,
    /// Bytes that it holds there.
    pub bytes: u64,
    /// Answers that it holds there.
    pub entries: u64,
    /// The tier behind it that replicas share, if there is one.
    pub shared: Option<SharedTierReport>,
    /// Of each model version that is cached, by name and version.
    pub models: Vec<CachedModel>,
}

/// What a tier that replicas share has done for this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedTierReport {
    /// What it is: `redis`, `memcached`.
    pub name: Arc<str>,
    /// Whether it is left alone for now, because it failed.
    pub is_left_alone: bool,
    /// Answers found there.
    pub hits: u64,
    /// Answers that were not there.
    pub misses: u64,
    /// Values found there that were not what was stored.
    pub rejected: u64,
    /// Answers written.
    pub written: u64,
    /// Answers not written, because too many writes were under way.
    pub dropped: u64,
    /// Calls that failed or took too long.
    pub failures: u64,
    /// Calls that were not made, because others failed before.
    pub skipped: u64,
    /// Purges that it does not know of yet, because it did not answer: other replicas follow when it does.
    pub purges_pending: u64,
}

/// One model version's part of the response cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedModel {
    /// The model.
    pub name: Arc<str>,
    /// Its version.
    pub version: u64,
    /// Answers in memory.
    pub entries: u64,
    /// What they take there.
    pub bytes: u64,
    /// Requests answered from what was known.
    pub hits: u64,
    /// Requests answered with something out of date.
    pub stale: u64,
    /// Requests answered by the run of another.
    pub coalesced: u64,
    /// Requests for which the model ran.
    pub misses: u64,
    /// Requests that did not want to be looked up.
    pub bypassed: u64,
    /// Answers that made room for others.
    pub evictions: u64,
    /// Rows that were known; of models that are looked up whole, requests.
    pub rows_found: u64,
    /// Rows that were run; of models that are looked up whole, requests.
    pub rows_run: u64,
}

/// What operators may see and do of the response cache.
pub trait CacheControl: Send + Sync + 'static {
    /// What it holds and has done.
    fn report(&self) -> CacheReport;

    /// Makes what is known of a model, or of all, unreachable, in every tier: what comes afterwards is computed. Returns how
    /// many answers this process forgot. Other replicas that share a tier follow within moments, or when it answers again.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] for a model that is not there, or not cached.
    fn purge(&self, model: Option<&str>) -> Result<u64, Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_is_wanted_and_the_rest_is_left_aside() {
        let cases: [(&[u8], CacheDirective); 12] = [
            (b"", CacheDirective::Use),
            (b"no-cache", CacheDirective::NoCache),
            (b" No-Cache ", CacheDirective::NoCache),
            (b"max-age=0", CacheDirective::NoCache),
            (b"max-age=60", CacheDirective::Use),
            (b"no-store", CacheDirective::NoStore),
            (b"no-cache, no-store", CacheDirective::NoStore),
            (b"no-store,no-cache", CacheDirective::NoStore),
            (b"only-if-cached, x=\"y\"", CacheDirective::Use),
            (b"no-cache=\"field\"", CacheDirective::Use),
            (b",,\xff\x00,", CacheDirective::Use),
            (b"no-cachet", CacheDirective::Use),
        ];
        for (value, expected) in cases {
            assert_eq!(CacheDirective::of_header(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn outcomes_are_told_with_their_age_in_whole_seconds() {
        let outcome = CacheOutcome { status: CacheStatus::Hit, age: Duration::from_millis(12_900) };
        assert_eq!(outcome.to_string(), "hit; age=12");
        for (name, directive) in CacheDirective::NAMES {
            assert_eq!(CacheDirective::named(name), Some(directive));
        }
        assert_eq!(CacheDirective::named("No-Cache"), None);
    }
}
