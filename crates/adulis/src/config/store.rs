//! The store: a SQL database, and its connections.

use std::path::PathBuf;
use std::time::Duration;

use adulis_store::{PoolOptions, StoreUrl};
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::units::{OFF, format_duration};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60 * 60);
const MAX_CONNECTIONS: i64 = 1000;

/// The store: a SQL database, and its connections. It is opened where something is kept in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The database; `None`: a file of SQLite's in the data folder.
    pub url: Option<StoreUrl>,
    /// Whether usage is counted by API key and model.
    pub usage: bool,
    /// How often it is written.
    pub usage_interval: Duration,
    /// How long what is to be kept may take to be written when the server stops.
    pub shutdown_timeout: Duration,
    /// Whether models may have inputs looked up in it.
    pub lookup: bool,
    /// Connections.
    pub pool: PoolOptions,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: None,
            usage: false,
            usage_interval: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(5),
            lookup: false,
            pool: PoolOptions::default(),
        }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStore {
    url: Option<String>,
    usage: Option<bool>,
    usage_interval: Option<String>,
    shutdown_timeout: Option<String>,
    lookup: Option<bool>,
    pool: RawPool,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPool {
    min_connections: Option<i64>,
    max_connections: Option<i64>,
    acquire_timeout: Option<String>,
    idle_timeout: Option<String>,
    max_lifetime: Option<String>,
    test_before_acquire: Option<bool>,
    statement_timeout: Option<String>,
}

impl Check<'_> {
    pub(super) fn store(&mut self, raw: &RawStore, default: &StoreConfig) -> StoreConfig {
        let interval = Duration::from_millis(100)..=DAY;
        let from_zero = Duration::ZERO..=Duration::from_secs(60 * 60);
        StoreConfig {
            url: raw.url.as_deref().filter(|url| !url.is_empty()).and_then(|url| self.store_url(url)),
            usage: raw.usage.unwrap_or(default.usage),
            usage_interval: self
                .duration("store.usage_interval", raw.usage_interval.as_deref(), &interval)
                .unwrap_or(default.usage_interval),
            shutdown_timeout: self
                .duration("store.shutdown_timeout", raw.shutdown_timeout.as_deref(), &from_zero)
                .unwrap_or(default.shutdown_timeout),
            lookup: raw.lookup.unwrap_or(default.lookup),
            pool: self.store_pool(&raw.pool, &default.pool),
        }
    }

    /// Messages do not repeat it: it may hold a password.
    fn store_url(&mut self, url: &str) -> Option<StoreUrl> {
        let url = StoreUrl::parse(url);
        url.map_err(|fault| self.faults.push("store.url", fault.to_string())).ok()
    }

    fn store_pool(&mut self, raw: &RawPool, default: &PoolOptions) -> PoolOptions {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let least = self
            .whole("store.pool.min_connections", raw.min_connections, 0..=MAX_CONNECTIONS)
            .map(count);
        let most = self
            .whole("store.pool.max_connections", raw.max_connections, 1..=MAX_CONNECTIONS)
            .map(count);
        let pool = PoolOptions {
            min_connections: least.unwrap_or(default.min_connections),
            max_connections: most.unwrap_or(default.max_connections),
            acquire_timeout: self
                .duration("store.pool.acquire_timeout", raw.acquire_timeout.as_deref(), &TIMEOUT)
                .unwrap_or(default.acquire_timeout),
            idle_timeout: self.time_or_off(
                "store.pool.idle_timeout",
                raw.idle_timeout.as_deref(),
                default.idle_timeout,
            ),
            max_lifetime: self.time_or_off(
                "store.pool.max_lifetime",
                raw.max_lifetime.as_deref(),
                default.max_lifetime,
            ),
            test_before_acquire: raw.test_before_acquire.unwrap_or(default.test_before_acquire),
            statement_timeout: self
                .duration("store.pool.statement_timeout", raw.statement_timeout.as_deref(), &TIMEOUT)
                .unwrap_or(default.statement_timeout),
        };
        if pool.min_connections > pool.max_connections {
            let message = format!(
                "{} is more than store.pool.max_connections, {}",
                pool.min_connections, pool.max_connections
            );
            self.faults.push("store.pool.min_connections", message);
        }
        pool
    }

    /// A time of a second to a thousand days, or `off`.
    pub(super) fn time_or_off(
        &mut self,
        key: &str,
        text: Option<&str>,
        default: Option<Duration>,
    ) -> Option<Duration> {
        match text {
            Some(OFF) => None,
            text => self.duration(key, text, &(Duration::from_secs(1)..=1000 * DAY)).or(default),
        }
    }
}

/// A time, or `off`.
pub(super) fn print_time_or_off(time: Option<Duration>) -> Option<String> {
    Some(time.map_or_else(|| OFF.to_owned(), format_duration))
}

impl StoreConfig {
    /// Where the database is.
    #[must_use]
    pub fn place(&self) -> StoreUrl {
        self.url.clone().unwrap_or_else(|| StoreUrl::sqlite(data_folder().join("adulis.db")))
    }

    pub(super) fn print(&self) -> RawStore {
        let count = |count: u32| Some(i64::from(count));
        let pool = &self.pool;
        RawStore {
            url: Some(self.url.as_ref().map(ToString::to_string).unwrap_or_default()),
            usage: Some(self.usage),
            usage_interval: Some(format_duration(self.usage_interval)),
            shutdown_timeout: Some(format_duration(self.shutdown_timeout)),
            lookup: Some(self.lookup),
            pool: RawPool {
                min_connections: count(pool.min_connections),
                max_connections: count(pool.max_connections),
                acquire_timeout: Some(format_duration(pool.acquire_timeout)),
                idle_timeout: print_time_or_off(pool.idle_timeout),
                max_lifetime: print_time_or_off(pool.max_lifetime),
                test_before_acquire: Some(pool.test_before_acquire),
                statement_timeout: Some(format_duration(pool.statement_timeout)),
            },
        }
    }
}

/// `ADULIS_DATA_DIR`, else `XDG_DATA_HOME/adulis`, else `~/.local/share/adulis`, else the current folder.
fn data_folder() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    folder("ADULIS_DATA_DIR")
        .or_else(|| Some(folder("XDG_DATA_HOME")?.join("adulis")))
        .or_else(|| Some(folder("HOME")?.join(".local/share/adulis")))
        .unwrap_or_default()
}
