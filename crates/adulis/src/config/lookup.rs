//! Where inputs of models are looked up, beside the store's database.

use std::time::Duration;

use adulis_pool::PoolOptions;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::pools::{RawRedis, RedisConfig};

/// Where inputs of models are looked up, beside the store's database.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupConfig {
    /// Redis, in whose hashes they are.
    pub redis: RedisConfig,
}

impl Default for LookupConfig {
    /// Keys are others' and begin as the models say. There is nothing to answer from without the features: it is worth waiting
    /// longer for them than for a cached answer.
    fn default() -> Self {
        let pool = PoolOptions {
            timeout: Duration::from_millis(200),
            acquire_timeout: Duration::from_millis(100),
            ..PoolOptions::default()
        };
        Self { redis: RedisConfig { key_prefix: String::new(), pool, ..RedisConfig::default() } }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLookup {
    redis: RawRedis,
}

impl Check<'_> {
    pub(super) fn lookup(&mut self, raw: &RawLookup, default: &LookupConfig) -> LookupConfig {
        LookupConfig { redis: self.redis("lookup.redis", &raw.redis, &default.redis) }
    }
}

impl LookupConfig {
    pub(super) fn print(&self) -> RawLookup {
        RawLookup { redis: self.redis.print() }
    }
}
