use std::time::{Duration, Instant};

use adulis_pool::{
    Entry, Health, KeyValuePool, MAX_KEY_BYTES, MAX_VALUE_BYTES, MemcachedPool, MemcachedServers, PoolError,
    PoolOptions,
};
use adulis_telemetry::{MetricRegistry, PoolMetrics};
use adulis_testing::{BackingServer, POOL_TIMEOUT, becomes, metric, pool_options, until};
use bytes::Bytes;

use crate::load::Load;
use crate::operations::{all_become, entries, every_operation_works};

fn servers(count: usize) -> Vec<BackingServer> {
    (0..count).map(|_| BackingServer::memcached(&[])).collect()
}

fn open(servers: &[BackingServer], registry: &MetricRegistry) -> MemcachedPool {
    let addresses: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let servers: MemcachedServers = format!("memcached://{}", addresses.join(",")).parse().unwrap();
    let options = PoolOptions { max_connections: 8, ..pool_options() };
    MemcachedPool::open("memcached", &servers, &options, &PoolMetrics::register(registry)).unwrap()
}

#[tokio::test]
async fn every_operation_works_over_three_servers() {
    let servers = servers(3);
    let registry = MetricRegistry::default();
    let pool = open(&servers, &registry);
    every_operation_works(&pool).await;
    for server in &servers {
        let sample = format!(
            "adulis_pool_operation_seconds_count{{pool=\"memcached {}\",operation=\"set\"}}",
            server.address()
        );
        assert!(metric(&registry, &sample) >= 1.0, "each has its share");
    }
}

#[tokio::test]
async fn what_memcached_does_not_take_is_refused_before_it_is_sent() {
    let servers = servers(1);
    let pool = open(&servers, &MetricRegistry::default());
    all_become(Health::Up, &pool).await;
    let ttl = Duration::from_secs(60);
    let longest = "k".repeat(MAX_KEY_BYTES);
    let entry =
        |key: &str, bytes: usize| Entry { key: key.to_owned(), value: Bytes::from(vec![7; bytes]), ttl };
    // The largest of everything is taken by the server.
    pool.set_many(&[entry(&longest, MAX_VALUE_BYTES)]).await.unwrap();
    assert_eq!(
        pool.get_many(&[&longest]).await.unwrap()[0].as_ref().map(Bytes::len),
        Some(MAX_VALUE_BYTES)
    );
    let error = pool.set_many(&[entry("big", MAX_VALUE_BYTES + 1), entry("small", 1)]).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("does not take a value of 1048065 bytes: the limit is 1048064"),
        "{error}"
    );
    let both = pool.get_many(&["big", "small"]).await.unwrap();
    assert!(both[0].is_none() && both[1].is_some(), "the others are set");
    let error = pool.get_many(&["k".repeat(251)]).await.unwrap_err();
    assert!(error.to_string().contains("a key of 251 bytes: the limit is 250"), "{error}");
    for key in ["a b", "a\r\nset b 0 0 1\r\nx", "", "\u{e9}"] {
        assert!(pool.get_many(&[key]).await.is_err(), "{key:?}");
    }
    // Where more is allowed than the server takes, it answers for itself.
    let pool = pool.with_max_value_bytes(8 << 20);
    let error = pool.set_many(&[entry("big", 2 << 20), entry("small", 1)]).await.unwrap_err();
    assert!(matches!(error, PoolError::Answer { .. }), "{error}");
    assert!(pool.get_many(&["small"]).await.unwrap()[0].is_some());
    assert_eq!(pool.backends()[0].health, Health::Up);
}

#[tokio::test]
async fn operations_that_are_dropped_leave_nothing_behind() {
    let servers = servers(1);
    let pool = open(&servers, &MetricRegistry::default());
    all_become(Health::Up, &pool).await;
    pool.set_many(&entries(50)).await.unwrap();
    for round in 0..200_u32 {
        let keys = [format!("key-{}", round % 50)];
        let asked = pool.get_many(&keys);
        let _ = tokio::time::timeout(Duration::from_micros(u64::from(round)), asked).await;
        let key = format!("key-{}", (round + 1) % 50);
        let value = pool.get_many(&[&key]).await.unwrap();
        let expected = usize::try_from((round + 1) % 50).unwrap() * 7;
        assert_eq!(value[0].as_ref().map(Bytes::len), Some(expected), "an answer to another's question");
    }
}

/// Three servers under load, one of which stops answering, and goes on after a while.
async fn rides_out(stop: impl FnOnce(&mut BackingServer), go_on: impl FnOnce(&mut BackingServer)) {
    let mut servers = servers(3);
    let registry = MetricRegistry::default();
    let pool = open(&servers, &registry);
    all_become(Health::Up, &pool).await;
    let entries = entries(60);
    pool.set_many(&entries).await.unwrap();
    let keys: Vec<Bytes> = entries.iter().map(|entry| entry.key.clone()).collect();
    let found = async || pool.get_many(&keys).await.unwrap().iter().flatten().count();
    assert_eq!(found().await, 60);
    let (asking, asked) = (pool.clone(), keys.clone());
    let load = Load::start(move || {
        let (pool, keys) = (asking.clone(), asked.clone());
        async move { pool.get_many(&keys).await }
    });
    load.hits(100).await;
    stop(&mut servers[1]);
    becomes(Health::Down, || pool.backends().swap_remove(1)).await;
    let begun = Instant::now();
    let left = found().await;
    assert!(
        begun.elapsed() < POOL_TIMEOUT && (1..60).contains(&left),
        "{left} of 60, {:?}",
        begun.elapsed()
    );
    load.hits(100).await;
    go_on(&mut servers[1]);
    becomes(Health::Up, || pool.backends().swap_remove(1)).await;
    until("all are found again", async || {
        pool.set_many(&entries).await.is_ok() && found().await == 60
    })
    .await;
    let sample = format!("adulis_pool_breaker_openings_total{{pool=\"memcached {}\"}}", servers[1].address());
    assert!(metric(&registry, &sample) >= 1.0);
    let tally = std::sync::Arc::clone(&load.tally);
    let slowest = load.end().await;
    assert!(slowest < POOL_TIMEOUT * 3, "one request took {slowest:?}");
    assert_eq!(tally.failed.load(std::sync::atomic::Ordering::Relaxed), 0, "two others always answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_under_load() {
    rides_out(|server| server.freeze(), |server| server.thaw()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_under_load() {
    rides_out(BackingServer::kill, BackingServer::restart).await;
}
