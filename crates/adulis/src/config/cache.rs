//! The response cache.

use std::ops::RangeInclusive;
use std::time::Duration;

use adulis_engine::CacheSettings;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::check::Check;
use super::pools::{MemcachedConfig, RawMemcached, RawRedis, RedisConfig};
use super::units::{OFF, format_bytes, format_duration};
use crate::SharedCache;

/// The response cache.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CacheConfig {
    /// How much it holds, for how long, and of which models.
    pub settings: CacheSettings,
    /// Redis, in which replicas share it.
    pub redis: RedisConfig,
    /// Memcached, in its place.
    pub memcached: MemcachedConfig,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCache {
    memory_bytes: Option<Value>,
    max_entry_bytes: Option<Value>,
    max_rows: Option<i64>,
    ttl: Option<String>,
    jitter_percent: Option<i64>,
    all_models: Option<bool>,
    lease: Option<String>,
    purge_interval: Option<String>,
    compress_from_bytes: Option<Value>,
    namespace: Option<String>,
    redis: RawRedis,
    memcached: RawMemcached,
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const LONGEST_LEASE: Duration = Duration::from_secs(60);
const PURGE_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60 * 60);
const MAX_NAMESPACE_BYTES: usize = 256;

impl Check<'_> {
    pub(super) fn cache(&mut self, raw: &RawCache, default: &CacheConfig) -> CacheConfig {
        let redis = self.redis("cache.redis", &raw.redis, &default.redis);
        let memcached = self.memcached(&raw.memcached, &default.memcached);
        if redis.url.is_some() && memcached.url.is_some() {
            let message = "Redis and Memcached are both set, and one of them is shared";
            self.faults.push_with_remedy("cache.memcached.url", message, "leave one of the URLs out");
        }
        let default = &default.settings;
        let at_least_a_moment = Duration::from_millis(1)..=YEAR;
        let namespace = raw.namespace.clone().unwrap_or_else(|| default.namespace.clone());
        if namespace.len() > MAX_NAMESPACE_BYTES {
            let message = format!("expected at most {MAX_NAMESPACE_BYTES} bytes, got {}", namespace.len());
            self.faults.push("cache.namespace", message);
        }
        let jitter = self.whole("cache.jitter_percent", raw.jitter_percent, 0..=100);
        let settings = CacheSettings {
            memory_bytes: self
                .size_or_off("cache.memory_bytes", raw.memory_bytes.as_ref())
                .map_or(default.memory_bytes, |bytes| bytes.map_or(0, |bytes| bytes as u64)),
            max_entry_bytes: self
                .bytes("cache.max_entry_bytes", raw.max_entry_bytes.as_ref())
                .unwrap_or(default.max_entry_bytes),
            max_rows: self.whole("cache.max_rows", raw.max_rows, 1..=1 << 20).unwrap_or(default.max_rows),
            ttl: match raw.ttl.as_deref() {
                None => default.ttl,
                Some(OFF) => None,
                text => self.duration("cache.ttl", text, &at_least_a_moment),
            },
            jitter: jitter.and_then(|percent| u8::try_from(percent).ok()).map_or(default.jitter, share),
            all_models: raw.all_models.unwrap_or(default.all_models),
            lease: match raw.lease.as_deref() {
                Some(OFF) => Duration::ZERO,
                text => self
                    .duration("cache.lease", text, &(Duration::ZERO..=LONGEST_LEASE))
                    .unwrap_or(default.lease),
            },
            purge_interval: self
                .duration("cache.purge_interval", raw.purge_interval.as_deref(), &PURGE_INTERVALS)
                .unwrap_or(default.purge_interval),
            compress_from_bytes: self
                .size_or_off("cache.compress_from_bytes", raw.compress_from_bytes.as_ref())
                .unwrap_or(default.compress_from_bytes),
            namespace,
        };
        CacheConfig { settings, redis, memcached }
    }

    /// A size, or `Some(None)` for what is switched off.
    pub(super) fn size_or_off(&mut self, key: &str, value: Option<&Value>) -> Option<Option<usize>> {
        match value {
            None => None,
            Some(Value::String(text)) if text == OFF => Some(None),
            value => self.bytes(key, value).map(Some),
        }
    }
}

fn share(percent: u8) -> f64 {
    f64::from(percent) / 100.0
}

impl CacheConfig {
    /// Where replicas share it, if they do.
    #[must_use]
    pub fn shared(&self) -> Option<SharedCache> {
        let redis = self.redis.server().map(SharedCache::Redis);
        redis.or_else(|| self.memcached.cache().map(SharedCache::Memcached))
    }

    pub(super) fn print(&self) -> RawCache {
        let of = &self.settings;
        let size = |bytes: usize| Some(Value::String(format_bytes(bytes)));
        let off = || Some(Value::String(OFF.to_owned()));
        let percent = (0..=100).find(|percent| share(*percent) >= of.jitter).unwrap_or(100);
        RawCache {
            memory_bytes: match usize::try_from(of.memory_bytes).unwrap_or(usize::MAX) {
                0 => off(),
                bytes => size(bytes),
            },
            max_entry_bytes: size(of.max_entry_bytes),
            max_rows: Some(i64::try_from(of.max_rows).unwrap_or(i64::MAX)),
            ttl: Some(of.ttl.map_or_else(|| OFF.to_owned(), format_duration)),
            jitter_percent: Some(i64::from(percent)),
            all_models: Some(of.all_models),
            purge_interval: Some(format_duration(of.purge_interval)),
            lease: Some(if of.lease.is_zero() { OFF.to_owned() } else { format_duration(of.lease) }),
            compress_from_bytes: of.compress_from_bytes.map_or_else(off, size),
            namespace: Some(of.namespace.clone()),
            redis: self.redis.print(),
            memcached: self.memcached.print(),
        }
    }
}
