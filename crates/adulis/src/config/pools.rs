//! What is talked to through pools: Redis, and Memcached.

use std::path::PathBuf;
use std::time::Duration;

use adulis_pool::{BreakerOptions, MAX_VALUE_BYTES, MemcachedServers, PoolOptions, RedisUrl, UrlError};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::check::Check;
use super::units::{format_bytes, format_duration};
use crate::RedisServer;
use crate::shared_cache::MemcachedCache;

type Limits = std::ops::RangeInclusive<Duration>;

/// What an operation may cost a request.
const TIMEOUT: Limits = Duration::from_millis(1)..=Duration::from_secs(10);
const CONNECT: Limits = Duration::from_millis(1)..=Duration::from_secs(60);
const LONG: Limits = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
const CHECK: Limits = Duration::ZERO..=Duration::from_secs(60 * 60);
const DELAY: Limits = Duration::from_millis(10)..=Duration::from_secs(60 * 60);
const MAX_CONNECTIONS: i64 = 1024;
const MAX_IN_FLIGHT: i64 = 1 << 16;
/// What memcached's `-I` allows.
const VALUE_BYTES: std::ops::RangeInclusive<usize> = 1024..=1 << 30;
/// Of Memcached's 250 bytes for a key, what is left beside the key itself.
const MAX_PREFIX_BYTES: usize = 100;
const PREFIX: &str = "adulis:";

/// A Redis: behind the response cache, or one that features are looked up in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where it is; `None`: nowhere. Never shown with its password.
    pub url: Option<RedisUrl>,
    /// Whom we trust, in PEM; `None`: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, in PEM, where the server asks for one.
    pub certificate_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// What every key begins with.
    pub key_prefix: String,
    /// Size and patience.
    pub pool: PoolOptions,
}

/// Memcached as a tier of the response cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemcachedConfig {
    /// The servers; `None`: none.
    pub url: Option<MemcachedServers>,
    /// What every key begins with.
    pub key_prefix: String,
    /// Largest value.
    pub max_value_bytes: usize,
    /// Size and patience, for each server.
    pub pool: PoolOptions,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            key_prefix: PREFIX.to_owned(),
            pool: PoolOptions::default(),
        }
    }
}

impl Default for MemcachedConfig {
    fn default() -> Self {
        Self {
            url: None,
            key_prefix: PREFIX.to_owned(),
            max_value_bytes: MAX_VALUE_BYTES,
            pool: PoolOptions::exclusive(),
        }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRedis {
    url: Option<String>,
    password: Option<String>,
    ca_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    key_prefix: Option<String>,
    max_in_flight: Option<i64>,
    pool: RawPool,
    breaker: RawBreaker,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMemcached {
    url: Option<String>,
    key_prefix: Option<String>,
    max_value_bytes: Option<Value>,
    pool: RawPool,
    breaker: RawBreaker,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPool {
    min_connections: Option<i64>,
    max_connections: Option<i64>,
    timeout: Option<String>,
    acquire_timeout: Option<String>,
    connect_timeout: Option<String>,
    idle_timeout: Option<String>,
    lifetime: Option<String>,
    check_after: Option<String>,
    check_interval: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBreaker {
    failures: Option<i64>,
    failure_percent: Option<i64>,
    minimum_operations: Option<i64>,
    window: Option<String>,
    min_delay: Option<String>,
    max_delay: Option<String>,
}

impl Check<'_> {
    pub(super) fn redis(&mut self, section: &str, raw: &RawRedis, default: &RedisConfig) -> RedisConfig {
        let key = |name: &str| format!("{section}.{name}");
        let file = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let url: Option<RedisUrl> =
            self.backend_url(&key("url"), raw.url.as_deref(), "redis://cache.example:6379");
        let password = raw.password.as_deref().filter(|password| !password.is_empty());
        let config = RedisConfig {
            url: match password {
                Some(password) => url.map(|url| url.with_password(password)),
                None => url,
            },
            ca_file: file(&raw.ca_file),
            certificate_file: file(&raw.certificate_file),
            key_file: file(&raw.key_file),
            key_prefix: self.prefix(&key("key_prefix"), raw.key_prefix.as_ref(), &default.key_prefix),
            pool: PoolOptions {
                max_in_flight: self
                    .whole(key("max_in_flight"), raw.max_in_flight, 1..=MAX_IN_FLIGHT)
                    .unwrap_or(default.pool.max_in_flight),
                ..self.pool(section, (&raw.pool, &raw.breaker), &default.pool)
            },
        };
        if config.certificate_file.is_some() != config.key_file.is_some() {
            let message = "certificate_file and key_file belong together: one of them is not set";
            self.faults.push(key("certificate_file"), message);
        }
        config
    }

    pub(super) fn memcached(&mut self, raw: &RawMemcached, default: &MemcachedConfig) -> MemcachedConfig {
        let url = raw.url.as_deref();
        MemcachedConfig {
            url: self.backend_url("cache.memcached.url", url, "memcached://a.example:11211,b.example:11211"),
            key_prefix: self.prefix(
                "cache.memcached.key_prefix",
                raw.key_prefix.as_ref(),
                &default.key_prefix,
            ),
            max_value_bytes: self
                .bytes_within("cache.memcached.max_value_bytes", raw.max_value_bytes.as_ref(), &VALUE_BYTES)
                .unwrap_or(default.max_value_bytes),
            pool: self.pool("cache.memcached", (&raw.pool, &raw.breaker), &default.pool),
        }
    }

    /// Messages do not repeat it: it may hold a password.
    fn backend_url<T>(&mut self, key: &str, url: Option<&str>, example: &str) -> Option<T>
    where
        T: std::str::FromStr<Err = UrlError>,
    {
        match url.filter(|url| !url.is_empty())?.parse() {
            Ok(url) => Some(url),
            Err(error) => {
                self.faults.push_with_remedy(key, error.to_string(), format!("for example {example:?}"));
                None
            }
        }
    }

    fn prefix(&mut self, key: &str, prefix: Option<&String>, default: &str) -> String {
        let Some(prefix) = prefix else {
            return default.to_owned();
        };
        if prefix.len() > MAX_PREFIX_BYTES || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message =
                format!("expected at most {MAX_PREFIX_BYTES} printable ASCII characters, got {prefix:?}");
            self.faults.push(key, message);
            return default.to_owned();
        }
        prefix.clone()
    }

    fn pool(
        &mut self,
        section: &str,
        (raw, breaker): (&RawPool, &RawBreaker),
        default: &PoolOptions,
    ) -> PoolOptions {
        let time = |check: &mut Self, name: &str, text: &Option<String>, limits: &Limits, default| {
            let key = format!("{section}.pool.{name}");
            check.duration(&key, text.as_deref(), limits).unwrap_or(default)
        };
        let pool = PoolOptions {
            min_connections: self
                .whole(format!("{section}.pool.min_connections"), raw.min_connections, 0..=MAX_CONNECTIONS)
                .unwrap_or(default.min_connections),
            max_connections: self
                .whole(format!("{section}.pool.max_connections"), raw.max_connections, 1..=MAX_CONNECTIONS)
                .unwrap_or(default.max_connections),
            max_in_flight: default.max_in_flight,
            timeout: time(self, "timeout", &raw.timeout, &TIMEOUT, default.timeout),
            acquire_timeout: time(
                self,
                "acquire_timeout",
                &raw.acquire_timeout,
                &TIMEOUT,
                default.acquire_timeout,
            ),
            connect_timeout: time(
                self,
                "connect_timeout",
                &raw.connect_timeout,
                &CONNECT,
                default.connect_timeout,
            ),
            idle_timeout: time(self, "idle_timeout", &raw.idle_timeout, &LONG, default.idle_timeout),
            lifetime: time(self, "lifetime", &raw.lifetime, &LONG, default.lifetime),
            check_after: time(self, "check_after", &raw.check_after, &CHECK, default.check_after),
            check_interval: time(self, "check_interval", &raw.check_interval, &LONG, default.check_interval),
            breaker: self.breaker(&format!("{section}.breaker"), breaker, &default.breaker),
        };
        if pool.min_connections > pool.max_connections {
            let message = format!("is more than max_connections, which is {}", pool.max_connections);
            self.faults.push(format!("{section}.pool.min_connections"), message);
        }
        pool
    }

    pub(super) fn breaker(
        &mut self,
        section: &str,
        raw: &RawBreaker,
        default: &BreakerOptions,
    ) -> BreakerOptions {
        let count = |check: &mut Self, name: &str, value, limit: i64, default| {
            let count = check.whole(format!("{section}.{name}"), value, 1..=limit);
            count.and_then(|count| u32::try_from(count).ok()).unwrap_or(default)
        };
        let time = |check: &mut Self, name: &str, text: &Option<String>, default| {
            check.duration(&format!("{section}.{name}"), text.as_deref(), &DELAY).unwrap_or(default)
        };
        let breaker = BreakerOptions {
            consecutive_failures: count(
                self,
                "failures",
                raw.failures,
                1 << 20,
                default.consecutive_failures,
            ),
            failure_percent: count(
                self,
                "failure_percent",
                raw.failure_percent,
                100,
                default.failure_percent,
            ),
            minimum_operations: count(
                self,
                "minimum_operations",
                raw.minimum_operations,
                1 << 20,
                default.minimum_operations,
            ),
            window: time(self, "window", &raw.window, default.window),
            min_delay: time(self, "min_delay", &raw.min_delay, default.min_delay),
            max_delay: time(self, "max_delay", &raw.max_delay, default.max_delay),
        };
        if breaker.min_delay > breaker.max_delay {
            let message = format!("is longer than max_delay, which is {:?}", breaker.max_delay);
            self.faults.push(format!("{section}.min_delay"), message);
        }
        breaker
    }
}

impl RedisConfig {
    /// What is told to whoever opens it, if it is somewhere.
    #[must_use]
    pub fn server(&self) -> Option<RedisServer> {
        let files = self.certificate_file.clone().zip(self.key_file.clone());
        Some(RedisServer {
            url: self.url.clone()?,
            ca_file: self.ca_file.clone(),
            client_files: files,
            key_prefix: self.key_prefix.clone(),
            pool: self.pool.clone(),
        })
    }

    pub(super) fn print(&self) -> RawRedis {
        let file = |path: &Option<PathBuf>| Some(path.clone().unwrap_or_default());
        let (pool, breaker) = print_pool(&self.pool);
        RawRedis {
            url: Some(self.url.as_ref().map(ToString::to_string).unwrap_or_default()),
            // It is the URL's by now, and masked there.
            password: Some(String::new()),
            ca_file: file(&self.ca_file),
            certificate_file: file(&self.certificate_file),
            key_file: file(&self.key_file),
            key_prefix: Some(self.key_prefix.clone()),
            max_in_flight: signed(self.pool.max_in_flight),
            pool,
            breaker,
        }
    }
}

impl MemcachedConfig {
    /// What is told to whoever opens it, if it is somewhere.
    pub(super) fn cache(&self) -> Option<MemcachedCache> {
        Some(MemcachedCache {
            servers: self.url.clone()?,
            key_prefix: self.key_prefix.clone(),
            max_value_bytes: self.max_value_bytes,
            pool: self.pool.clone(),
        })
    }

    pub(super) fn print(&self) -> RawMemcached {
        let (pool, breaker) = print_pool(&self.pool);
        RawMemcached {
            url: Some(self.url.as_ref().map(ToString::to_string).unwrap_or_default()),
            key_prefix: Some(self.key_prefix.clone()),
            max_value_bytes: Some(Value::String(format_bytes(self.max_value_bytes))),
            pool,
            breaker,
        }
    }
}

fn print_pool(pool: &PoolOptions) -> (RawPool, RawBreaker) {
    let time = |duration| Some(format_duration(duration));
    let raw = RawPool {
        min_connections: signed(pool.min_connections),
        max_connections: signed(pool.max_connections),
        timeout: time(pool.timeout),
        acquire_timeout: time(pool.acquire_timeout),
        connect_timeout: time(pool.connect_timeout),
        idle_timeout: time(pool.idle_timeout),
        lifetime: time(pool.lifetime),
        check_after: time(pool.check_after),
        check_interval: time(pool.check_interval),
    };
    (raw, print_breaker(&pool.breaker))
}

pub(super) fn print_breaker(breaker: &BreakerOptions) -> RawBreaker {
    let time = |duration| Some(format_duration(duration));
    RawBreaker {
        failures: Some(i64::from(breaker.consecutive_failures)),
        failure_percent: Some(i64::from(breaker.failure_percent)),
        minimum_operations: Some(i64::from(breaker.minimum_operations)),
        window: time(breaker.window),
        min_delay: time(breaker.min_delay),
        max_delay: time(breaker.max_delay),
    }
}

fn signed(count: usize) -> Option<i64> {
    Some(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Layers};

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("adulis.toml"), text).unwrap();
        let layers = Layers { folder: folder.path().to_owned(), ..Layers::default() };
        layers.load().map(|loaded| loaded.config).map_err(|errors| errors.to_string())
    }

    #[test]
    fn passwords_are_never_shown() {
        for text in [
            "[cache.redis]\nurl = 'redis://me:s3cret@cache.example'",
            "[cache.redis]\nurl = 'redis://me@cache.example'\npassword = 's3cret'",
        ] {
            let config = load(text).unwrap();
            let (shown, debug) = (config.to_toml(), format!("{config:?}"));
            assert!(shown.contains("\"redis://me:********@cache.example:6379\""), "{shown}");
            assert!(!shown.contains("s3cret") && !debug.contains("s3cret"));
            let shared = format!("{:?}", config.cache.shared().unwrap());
            assert!(shared.starts_with("Redis(") && !shared.contains("s3cret"), "{shared}");
            let config = load(&text.replace("cache.redis", "lookup.redis")).unwrap();
            let (shown, debug) = (config.to_toml(), format!("{config:?}{:?}", config.lookup.redis.server()));
            assert!(shown.contains("\"redis://me:********@cache.example:6379\""), "{shown}");
            assert!(!shown.contains("s3cret") && !debug.contains("s3cret"));
        }
    }

    #[test]
    fn lookups_have_a_redis_of_their_own() {
        let config = load("[lookup.redis]\nurl = 'redis://features'\nkey_prefix = 'shop:'").unwrap();
        let server = config.lookup.redis.server().unwrap();
        assert_eq!((&*server.key_prefix, server.pool.timeout.as_millis()), ("shop:", 200));
        assert!(config.cache.shared().is_none());
        assert_eq!(load(&config.to_toml()).unwrap(), config);
        let cached = load("[cache.redis]\nurl = 'redis://a'").unwrap();
        assert!(cached.lookup.redis.server().is_none());
        let told = load("[lookup.redis]\nurl = 'http://a'\n[lookup.redis.pool]\ntimeout = '1h'").unwrap_err();
        assert!(told.contains("lookup.redis.url: expected redis://"), "{told}");
        assert!(told.contains("lookup.redis.pool.timeout: expected 1ms to 10s"), "{told}");
    }

    #[test]
    fn what_is_set_is_told_to_the_pool_and_reads_back() {
        let config = load(
            "[cache.memcached]\nurl = 'memcached://a,b:1'\nmax_value_bytes = '4MiB'\nkey_prefix = 'x'\n\
             [cache.memcached.pool]\ntimeout = '5ms'\nmax_connections = 3\n\
             [cache.memcached.breaker]\nfailures = 2\nmax_delay = '1m'",
        );
        let config = config.unwrap();
        let memcached = &config.cache.memcached;
        assert_eq!((memcached.pool.max_connections, memcached.max_value_bytes), (3, 4 << 20));
        assert_eq!(memcached.pool.breaker.consecutive_failures, 2);
        assert_eq!(load(&config.to_toml()).unwrap(), config);
        assert!(load("").unwrap().cache.shared().is_none());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (text, expected) in [
            ("[cache.redis]\nurl = 'http://:s3cret@a'", "cache.redis.url: expected redis://"),
            (
                "[cache.memcached]\nurl = 'memcached://u:s3cret@a'",
                "cache.memcached.url: must not hold a user",
            ),
            (
                "[cache.redis]\nkey_prefix = 'a b'",
                "cache.redis.key_prefix: expected at most 100 printable",
            ),
            ("[cache.redis]\ncertificate_file = 'x'", "certificate_file and key_file belong together"),
            ("[cache.redis.pool]\nmin_connections = 9", "is more than max_connections, which is 4"),
            ("[cache.redis.pool]\ntimeout = '1h'", "cache.redis.pool.timeout: expected 1ms to 10s"),
            ("[cache.redis.breaker]\nmin_delay = '1m'", "is longer than max_delay, which is 15s"),
            (
                "[cache.redis]\nurl = 'redis://a'\n[cache.memcached]\nurl = 'memcached://a'",
                "Redis and Memcached are both set",
            ),
        ] {
            let told = load(text).unwrap_err();
            assert!(told.contains(expected) && !told.contains("s3cret"), "{text}: {told}");
        }
    }
}
