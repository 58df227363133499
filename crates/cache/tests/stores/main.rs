//! The tiers over real servers, which these tests start. Where Redis or Memcached is not installed, they fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod purging;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adulis_cache::{GuardedTier, Holder, Key, MarkChange, PoolTier, SharedTier, StoredValue, TierError};
use adulis_pool::{MemcachedPool, PoolOptions, RedisPool, RedisTls};
use adulis_telemetry::PoolMetrics;
use adulis_testing::{BackingServer, RedisCluster};
use bytes::Bytes;

const PREFIX: &str = "test:";

/// Long, since many tests share few cores.
fn options() -> PoolOptions {
    let timeout = Duration::from_secs(2);
    PoolOptions { timeout, acquire_timeout: timeout, ..PoolOptions::default() }
}

fn redis(url: &str) -> PoolTier<RedisPool> {
    let at = (url.parse().unwrap(), RedisTls::default());
    let pool = RedisPool::open("redis", at, &options(), &PoolMetrics::default()).unwrap();
    PoolTier::new(pool, PREFIX)
}

fn memcached(servers: &[BackingServer]) -> PoolTier<MemcachedPool> {
    let addresses: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let servers = format!("memcached://{}", addresses.join(",")).parse().unwrap();
    let pool = MemcachedPool::open("memcached", &servers, &options(), &PoolMetrics::default()).unwrap();
    PoolTier::new(pool, PREFIX)
}

fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

fn stored(number: u8, bytes: usize) -> StoredValue {
    let value = Bytes::from(vec![number; bytes]);
    // Times differ, as with jitter.
    let ttl = Duration::from_secs(60 + u64::from(number));
    StoredValue { key: key(number), value, ttl }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn keeps_what_it_is_given(tier: &dyn SharedTier) {
    let values: Vec<StoredValue> = (0..100).map(|number| stored(number, usize::from(number) * 100)).collect();
    tier.set_many(&values).await.unwrap();
    let keys: Vec<Key> = (0..110).rev().map(key).collect();
    let found = tier.get_many(&keys).await.unwrap();
    let expected = (0..110_u8)
        .rev()
        .map(|number| values.get(usize::from(number)).map(|stored| stored.value.clone()));
    assert!(found == expected.collect::<Vec<_>>(), "each at its key's place");
    let short = StoredValue { ttl: Duration::from_millis(1), ..stored(200, 5) };
    tier.set_many(&[short]).await.unwrap();
    until("it is gone", async || tier.get_many(&[key(200)]).await.unwrap() == [None]).await;
}

async fn has_leases(tier: &dyn SharedTier) {
    let (one, other) = (Holder([1; 16]), Holder([2; 16]));
    let minute = Duration::from_secs(60);
    assert!(tier.lease(&key(1), one, minute).await.unwrap());
    assert!(!tier.lease(&key(1), other, minute).await.unwrap());
    assert!(tier.lease(&key(3), other, minute).await.unwrap(), "of another key");
    tier.release(&key(1), other).await.unwrap();
    assert!(!tier.lease(&key(1), other, minute).await.unwrap(), "only its holder gives it back");
    tier.release(&key(1), one).await.unwrap();
    assert!(tier.lease(&key(1), other, minute).await.unwrap());
    assert!(tier.get_many(&[key(1)]).await.unwrap()[0].as_ref().is_none_or(|value| value.len() == 100));
}

async fn has_marks(tier: &dyn SharedTier) {
    let change = |old: Option<[u8; 16]>, new| MarkChange {
        old: old.map(|old| Bytes::copy_from_slice(&old)),
        new,
        ttl: Duration::from_secs(60),
    };
    let keys = [key(1), key(2)];
    assert_eq!(tier.marks(&keys).await.unwrap(), [None, None], "beside values and leases");
    assert!(tier.replace_mark(&keys[0], &change(None, [1; 16])).await.unwrap());
    assert!(!tier.replace_mark(&keys[0], &change(None, [2; 16])).await.unwrap(), "one is there");
    assert!(
        !tier.replace_mark(&keys[0], &change(Some([2; 16]), [3; 16])).await.unwrap(),
        "another is there"
    );
    assert!(tier.replace_mark(&keys[0], &change(Some([1; 16]), [3; 16])).await.unwrap());
    let marks = tier.marks(&keys).await.unwrap();
    assert_eq!(marks, [Some(Bytes::from_static(&[3; 16])), None]);
}

async fn works(tier: &dyn SharedTier) {
    keeps_what_it_is_given(tier).await;
    has_leases(tier).await;
    has_marks(tier).await;
}

#[tokio::test]
async fn a_redis_server() {
    let server = BackingServer::redis(&[]);
    works(&redis(&format!("redis://{}", server.address()))).await;
    let names = server.redis_cli(&["--scan"]);
    assert!(names.lines().all(|name| name.starts_with(PREFIX)), "{names}");
}

#[tokio::test]
async fn a_redis_cluster() {
    let cluster = RedisCluster::start();
    works(&redis(&format!("redis+cluster://{}", cluster.addresses()))).await;
}

#[tokio::test]
async fn three_memcached_servers() {
    let servers: Vec<_> = (0..3).map(|_| BackingServer::memcached(&[])).collect();
    works(&memcached(&servers)).await;
}

#[tokio::test]
async fn what_is_too_large_for_memcached_is_left_out() {
    let servers = [BackingServer::memcached(&[])];
    let tier = memcached(&servers);
    tier.set_many(&[stored(1, 2 << 20), stored(2, 10)]).await.unwrap();
    let found = tier.get_many(&[key(1), key(2)]).await.unwrap();
    assert!(found[0].is_none() && found[1].is_some());
}

#[tokio::test]
async fn a_server_that_is_gone_is_left_alone_until_it_is_back() {
    let mut servers = [BackingServer::redis(&[]), BackingServer::memcached(&[])];
    let redis: Arc<dyn SharedTier> = Arc::new(redis(&format!("redis://{}", servers[0].address())));
    let memcached: Arc<dyn SharedTier> = Arc::new(memcached(&servers[1..]));
    let tiers = [redis, memcached].map(|tier| GuardedTier::new(tier, Duration::from_secs(5)));
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    for tier in &tiers {
        tier.set_many(&[stored(1, 10)]).await.unwrap();
        assert!(!tier.is_left_alone());
    }
    servers.iter_mut().for_each(BackingServer::kill);
    for tier in &tiers {
        until("it is asked no more", async || {
            matches!(tier.get_many(&[key(1)]).await, Err(TierError::Open))
        })
        .await;
        let failures = read(&tier.counts().failures);
        assert!(tier.is_left_alone() && read(&tier.counts().skipped) >= 1);
        assert!(tier.get_many(&[key(1)]).await.is_err());
        assert_eq!(read(&tier.counts().failures), failures, "what is not asked does not fail");
    }
    servers.iter_mut().for_each(BackingServer::restart);
    for tier in &tiers {
        until("it is asked again", async || tier.set_many(&[stored(1, 10)]).await.is_ok()).await;
        assert!(!tier.is_left_alone());
    }
}
