use std::time::Duration;

use crate::BreakerOptions;

/// Size and patience of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOptions {
    /// Connections that are kept open, to each server of several.
    pub min_connections: usize,
    /// Most connections, to each server of several. A connection to Redis is shared by many operations at a time, one to
    /// Memcached serves one.
    pub max_connections: usize,
    /// Most operations under way on one connection to Redis.
    pub max_in_flight: usize,
    /// How long an operation waits for its turn, within [`PoolOptions::timeout`].
    pub acquire_timeout: Duration,
    /// How long opening a connection may take. An operation does not wait for longer than [`PoolOptions::timeout`], the
    /// connection goes on being opened for those that come later.
    pub connect_timeout: Duration,
    /// How long an operation may take in all: waiting for its turn, for a connection and for the answer. What takes longer
    /// has failed.
    pub timeout: Duration,
    /// How long a connection may lie idle before it is closed, if more than the minimum are open.
    pub idle_timeout: Duration,
    /// How old a connection may get before a new one takes its place.
    pub lifetime: Duration,
    /// A connection that has been idle for this long is asked whether it lives before it is used; zero: always.
    pub check_after: Duration,
    /// How often the backend is asked whether it lives while there is nothing else to tell it by.
    pub check_interval: Duration,
    /// When operations are no longer tried.
    pub breaker: BreakerOptions,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            min_connections: 1,
            max_connections: 4,
            max_in_flight: 256,
            acquire_timeout: Duration::from_millis(20),
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_millis(50),
            idle_timeout: Duration::from_secs(5 * 60),
            lifetime: Duration::from_secs(30 * 60),
            check_after: Duration::from_secs(5),
            check_interval: Duration::from_secs(5),
            breaker: BreakerOptions::default(),
        }
    }
}

impl PoolOptions {
    /// What holds for Memcached, whose connections serve one operation at a time.
    #[must_use]
    pub fn exclusive() -> Self {
        Self { max_connections: 16, max_in_flight: 1, ..Self::default() }
    }
}
