//! Bounded, metered connections to what replicas share: Redis and Memcached.
//!
//! What both can do is a [`KeyValuePool`]. [`RedisPool`] shares a few connections among many operations at a time, over one
//! server, the master that Sentinels name, or a cluster. [`MemcachedPool`] has a pool for each of several servers, and spreads
//! keys over them by consistent hashing.
//!
//! ```text
//! operation ─ breaker open? refused at once ─ turn ─ connection ─ answer    all within one timeout
//!                    ▲                                             │
//!  keeper: probes while it is open ─ closes it        outcome ─────┘ opens it
//! ```
//!
//! Invariants:
//! - An operation takes no longer than its pool's timeout, whatever the backend does, and no time while the breaker is open.
//! - A backend that is down delays nobody's start. A task of its own, the keeper, finds out that it is down, probes it after a
//!   delay that doubles up to a limit, and connects anew: no request has to pay for that.
//! - Dropping an operation's future cancels it. It leaves no connection in a state that the next one could stumble over, and
//!   says nothing of the backend's health.
//! - Connections, operations under way and those that wait are bounded.
//! - No error, status or log line holds a password.
//! - What failed because its connection broke is done once more over another one, within a budget that all operations share.
//!
//! The breaker, the delays between probes and the budget are those of `adulis-retry`.
//!
//! Deliberately lacking: retries beyond that, replicas that are read from, and moving keys of a Memcached server that is down.
//! The `redis` crate's connection manager is not used: it reconnects without knowing of deadlines, and waits with requests in
//! hand.

mod clock;
mod entry;
mod error;
mod gate;
mod keeper;
mod key_value;
mod memcached;
mod multiplex;
mod options;
mod redis;
mod status;

pub use adulis_retry::BreakerOptions;
pub use entry::Entry;
pub use error::PoolError;
pub use key_value::KeyValuePool;
pub use memcached::{MAX_KEY_BYTES, MAX_VALUE_BYTES, MemcachedPool, MemcachedServers};
pub use options::PoolOptions;
pub use redis::{RedisPool, RedisScript, RedisTls, RedisUrl, UrlError};
pub use status::{BackendStatus, Health};
